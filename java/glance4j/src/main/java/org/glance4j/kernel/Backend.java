package org.glance4j.kernel;

import java.util.Locale;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.NativeLoadException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Where the operations of this package run. Chosen once, when a model is loaded. */
public enum Backend {
  /** CUDA where there is a device, else CPU; LibTorch if the kernel library cannot be loaded. */
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
    return torch.cuda_is_available() && !NativeLibrary.cudaArchitectures().isEmpty() ? CUDA : CPU;
  }

  private static void requireCuda() {
    NativeLibrary.require();
    if (NativeLibrary.cudaArchitectures().isEmpty()) {
      throw new NativeLoadException(
          "the kernel library "
              + NativeLibrary.path()
              + " was built without CUDA; build it on a machine with a CUDA toolkit 12 or newer"
              + " (nvcc on PATH), or choose backend cpu");
    }
    if (!torch.cuda_is_available()) {
      // A GPU build of LibTorch with a library missing runs on the CPU without a word.
      throw new NativeLoadException("LibTorch has no CUDA device." + CudaLibraries.report());
    }
  }
}
