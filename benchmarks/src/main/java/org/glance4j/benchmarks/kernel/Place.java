package org.glance4j.benchmarks.kernel;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.cuda.CudaDevice;
import org.glance4j.kernel.Backend;
import org.jspecify.annotations.Nullable;

/**
 * Where everything is measured: on the backend that the system property {@value #PROPERTY} names,
 * by default on a CUDA device if there is one, otherwise on the CPU.
 */
public final class Place {
  /** The system property: auto, cpu or cuda. */
  public static final String PROPERTY = "glance.backend";

  private static @Nullable Backend backend;

  private Place() {}

  /** Our kernels' backend; LibTorch computes on the same device. */
  public static synchronized Backend backend() {
    if (backend == null) {
      backend = resolve();
    }
    return backend;
  }

  private static Backend resolve() {
    Backend asked = Backend.parse(System.getProperty(PROPERTY, "auto"));
    if (asked == Backend.TORCH) {
      throw new IllegalArgumentException(
          "-D"
              + PROPERTY
              + "=torch: LibTorch is what the kernels are measured beside; use cpu or"
              + " cuda");
    }
    return asked.resolve();
  }

  /** The device's name for a reader; {@code cpu} where there is none beside the CPU. */
  public static String device(String cpu) {
    return backend() == Backend.CUDA ? CudaDevice.current().name() : cpu;
  }

  /** The clock, read when the device has done what was queued. */
  public static long nanoTime() {
    backend().synchronize();
    return System.nanoTime();
  }

  /** For tensors that are made there. Not freed: a case makes one or two. */
  static TensorOptions options(ScalarType type) {
    try (PointerScope scope = new PointerScope()) {
      return backend()
          .place(torch.empty(new long[] {0}, new TensorOptions(type), null))
          .options()
          .retainReference();
    }
  }
}
