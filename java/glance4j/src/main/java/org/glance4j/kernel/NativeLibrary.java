package org.glance4j.kernel;

import java.lang.ref.Reference;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.NativeLoadException;
import org.glance4j.kernel.jni.CudaDevice;
import org.glance4j.kernel.jni.Kernels;
import org.jspecify.annotations.Nullable;

/**
 * The kernel library: loaded once, on first use, and checked to be of the version this code was
 * compiled against. Thread-safe.
 */
public final class NativeLibrary {
  private static final String FOLDER = "org/glance4j/kernel/jni";

  /** What {@link #cuda()} found: the driver takes a while to answer, and its answer stays. */
  private static @Nullable Cuda cuda;

  private NativeLibrary() {}

  /**
   * What CUDA there is for the kernels.
   *
   * @param driverVersion the newest CUDA the driver supports, 1000 * major + 10 * minor; 0 without
   *     a driver
   * @param devices in the driver's order
   * @param problem why there is no usable device, or null
   */
  public record Cuda(int driverVersion, List<Device> devices, @Nullable String problem) {
    /** Copies the list. */
    public Cuda {
      devices = List.copyOf(devices);
    }
  }

  /**
   * One CUDA device.
   *
   * @param name as the driver calls it
   * @param memoryBytes its whole memory
   * @param computeMajor compute capability, before the point
   * @param computeMinor and after it
   */
  public record Device(String name, long memoryBytes, int computeMajor, int computeMinor) {}

  /**
   * Loads the library if that has not been tried.
   *
   * @throws NativeLoadException if it could not be loaded, each time with the first failure's
   *     report
   */
  public static void require() {
    Loaded.ATTEMPT.throwIfFailed();
  }

  /** Why the library could not be loaded, or null if it was. */
  public static @Nullable NativeLoadException failure() {
    return Loaded.ATTEMPT.failure();
  }

  /** The file it was loaded from. */
  public static String path() {
    require();
    return Loader.load(Kernels.class);
  }

  /**
   * The instruction sets of this CPU that the library has code for, the one in use last: {@code
   * "baseline avx2 avx512 avx512_bf16"}.
   */
  public static String cpuFeatures() {
    require();
    return text(Kernels.glance_cpu_features());
  }

  /**
   * The CUDA architectures the library has code for, {@code "80-real,90a-real"}; empty if it was
   * built without CUDA.
   */
  public static String cudaArchitectures() {
    require();
    return text(Kernels.glance_cuda_architectures());
  }

  /** The CUDA driver and devices the library sees; asked once. */
  public static synchronized Cuda cuda() {
    require();
    if (cuda == null) {
      cuda = askForCuda();
    }
    return cuda;
  }

  private static Cuda askForCuda() {
    int[] driver = new int[1];
    int[] count = new int[1];
    if (Kernels.glance_cuda_query(driver, count) != Kernels.GLANCE_OK) {
      return new Cuda(driver[0], List.of(), lastError());
    }
    List<Device> devices = new ArrayList<>();
    for (int i = 0; i < count[0]; i++) {
      devices.add(device(i));
    }
    return new Cuda(driver[0], devices, count[0] == 0 ? "the driver reports no device" : null);
  }

  /**
   * Tells the system that a tensor's pages of a mapped file will not be read soon: they then need
   * not stay in memory, and are read from the file again if they are read all the same.
   *
   * @param tensor a contiguous part of a file that is mapped and never written to; the contents of
   *     any other memory would be lost
   */
  public static void releaseMappedPages(Tensor tensor) {
    require();
    try {
      check(Kernels.glance_release_mapped_pages(tensor.data_ptr(), tensor.nbytes()));
    } finally {
      Reference.reachabilityFence(tensor);
    }
  }

  private static Device device(int index) {
    try (CudaDevice device = new CudaDevice()) {
      device.struct_size(Loader.sizeof(CudaDevice.class));
      check(Kernels.glance_cuda_device_info(index, device));
      return new Device(
          text(device.name()),
          device.memory_bytes(),
          device.compute_major(),
          device.compute_minor());
    }
  }

  /** Turns a status that is not {@code GLANCE_OK} into the exception it stands for. */
  static void check(int status) {
    switch (status) {
      case Kernels.GLANCE_OK -> {}
      case Kernels.GLANCE_INVALID_ARGUMENT -> throw new IllegalArgumentException(lastError());
      case Kernels.GLANCE_UNSUPPORTED -> throw new UnsupportedOperationException(lastError());
      default -> throw new IllegalStateException(lastError());
    }
  }

  private static String lastError() {
    return text(Kernels.glance_last_error());
  }

  private static String text(@Nullable BytePointer pointer) {
    return Pointer.isNull(pointer) || pointer == null ? "" : pointer.getString();
  }

  /** Loading, once: class initialisation is the lock. */
  private static final class Loaded {
    static final LoadAttempt ATTEMPT = load();

    private static LoadAttempt load() {
      NativeRuntime.configure();
      LoadAttempt attempt =
          LoadAttempt.of(
              "the kernel library",
              FOLDER,
              "libjniKernels.so",
              "org.glance4j:glance4j-platform (or org.glance4j:glance4j with the classifier of this"
                  + " platform)",
              Kernels::glance_abi_version);
      return attempt.failure() == null ? checkVersion() : attempt;
    }

    private static LoadAttempt checkVersion() {
      int version = Kernels.glance_abi_version();
      if (version == Kernels.GLANCE_ABI_VERSION) {
        return new LoadAttempt(null);
      }
      return new LoadAttempt(
          new NativeLoadException(
              "the kernel library "
                  + Loader.load(Kernels.class)
                  + " has ABI version "
                  + version
                  + ", but this program needs "
                  + Kernels.GLANCE_ABI_VERSION
                  + ": put glance4j and its native jar of one and the same version on the class"
                  + " path"));
    }
  }
}
