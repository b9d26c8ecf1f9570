package org.glance4j.kernel;

import java.util.List;
import java.util.Locale;
import org.bytedeco.pytorch.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.NativeLoadException;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Where the operations of this package run. Chosen once, when a model is loaded. */
public enum Backend {
  /**
   * CUDA where there is a device the kernel library has code for, else CPU; LibTorch if the library
   * cannot be loaded.
   */
  AUTO,
  /** This library's kernels on the CPU. */
  CPU,
  /** This library's kernels on a CUDA device. */
  CUDA,
  /** Plain LibTorch operations on whatever device the tensors are: slower, and the oracle. */
  TORCH;

  private static final Logger LOG = LoggerFactory.getLogger(Backend.class);

  /**
   * The backend named {@code text}, in any case.
   *
   * @throws IllegalArgumentException if there is none
   */
  public static Backend parse(String text) {
    for (Backend backend : values()) {
      if (backend.name().equalsIgnoreCase(text)) {
        return backend;
      }
    }
    throw new IllegalArgumentException(
        "backend \"" + text + "\" is not known; use auto, cpu, cuda or torch");
  }

  /** The form {@link #parse} reads, in lower case. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }

  /**
   * The backend to use on this machine: this one, or what AUTO comes to.
   *
   * @throws NativeLoadException if this backend was named but cannot run here; the message says
   *     what is missing
   */
  public Backend resolve() {
    NativeRuntime.initialize();
    return switch (this) {
      case TORCH -> TORCH;
      case CPU -> {
        NativeLibrary.require();
        yield CPU;
      }
      case CUDA -> {
        requireCuda();
        yield CUDA;
      }
      case AUTO -> automatic();
    };
  }

  private static Backend automatic() {
    NativeLoadException failure = NativeLibrary.failure();
    if (failure != null) {
      LOG.warn("running on plain LibTorch operations, which is slower: {}", failure.getMessage());
      return TORCH;
    }
    if (!torch.cuda_is_available()) {
      return CPU;
    }
    NativeLoadException reason = withoutKernels();
    if (reason != null) {
      LOG.warn("not using the CUDA device: {}", reason.getMessage());
      return CPU;
    }
    return CUDA;
  }

  private static void requireCuda() {
    NativeLibrary.require();
    if (!torch.cuda_is_available()) {
      // A GPU build of LibTorch with a library missing runs on the CPU without a word.
      throw new NativeLoadException("LibTorch has no CUDA device." + CudaLibraries.report());
    }
    NativeLoadException reason = withoutKernels();
    if (reason != null) {
      throw reason;
    }
  }

  /** Why the kernel library has no code for LibTorch's current CUDA device; null if it has. */
  private static @Nullable NativeLoadException withoutKernels() {
    String architectures = NativeLibrary.cudaArchitectures();
    List<NativeLibrary.Device> devices = NativeLibrary.cuda().devices();
    int index = torch.getDeviceIndex();
    if (index >= devices.size()) {
      return new NativeLoadException(
          "the kernel library "
              + NativeLibrary.path()
              + " does not see LibTorch's CUDA device "
              + index
              + "."
              + CudaLibraries.report());
    }
    NativeLibrary.Device device = devices.get(index);
    if (CudaArchitectures.cover(architectures, device.computeMajor(), device.computeMinor())) {
      return null;
    }
    return new NativeLoadException(
        "the kernel library %s has %s, but CUDA device %d, %s, has compute capability %d.%d; build it for that (-Dglance.cuda.architectures=%d%d-real, with nvcc of a CUDA toolkit that knows it), or choose backend cpu"
            .formatted(
                NativeLibrary.path(),
                architectures.isEmpty() ? "no CUDA code" : "code for " + architectures,
                index,
                device.name(),
                device.computeMajor(),
                device.computeMinor(),
                device.computeMajor(),
                device.computeMinor()));
  }

  /**
   * {@code tensor} where this backend computes: itself, or on CUDA a copy of it on the current
   * device if it is not on one yet.
   */
  public Tensor place(Tensor tensor) {
    return this == CUDA ? tensor.cuda() : tensor;
  }

  /** Waits until the work queued on the thread's current stream is done; nothing but on CUDA. */
  public void synchronize() {
    if (this == CUDA) {
      try (Stream stream = torch.getCurrentStream(torch.getDeviceIndex())) {
        stream.synchronize();
      }
    }
  }
}
