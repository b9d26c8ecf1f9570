package org.glance4j.benchmarks.kernel;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.DType;
import org.glance4j.kernel.NativeRuntime;

/**
 * The tensors and other native objects of one case, alive until {@link #close()}. Values differ
 * from run to run; {@link #seed()} says which these are.
 */
final class Inputs implements AutoCloseable {
  private final ScalarType type;
  private final long seed;
  private final List<AutoCloseable> owned = new ArrayList<>();

  private Inputs(DType dtype) {
    this.type = type(dtype);
    this.seed = System.nanoTime() & 0xffff_ffffL;
    torch.manual_seed(seed);
  }

  /** Opens a case with inputs of its own, which are freed if that fails. */
  static KernelCase open(DType dtype, Function<Inputs, KernelCase> opener) {
    NativeRuntime.initialize();
    Inputs inputs = new Inputs(dtype);
    try (NoGradGuard noGrad = new NoGradGuard()) {
      return opener.apply(inputs);
    } catch (RuntimeException | Error e) {
      inputs.close();
      throw e;
    }
  }

  static ScalarType type(DType dtype) {
    return dtype == DType.F32 ? ScalarType.Float : ScalarType.BFloat16;
  }

  static int bytesPerElement(DType dtype) {
    return dtype == DType.F32 ? Float.BYTES : Short.BYTES;
  }

  long seed() {
    return seed;
  }

  /** Uniform values with this standard deviation, in the case's type. */
  Tensor random(double deviation, long... shape) {
    return random(type, deviation, shape);
  }

  /** As {@link #random(double, long...)}, in f32. */
  Tensor randomF32(double deviation, long... shape) {
    return random(ScalarType.Float, deviation, shape);
  }

  // Uniform rather than normal: ten times as fast to draw, and a product does not know.
  private Tensor random(ScalarType to, double deviation, long... shape) {
    try (PointerScope scope = new PointerScope()) {
      double width = deviation * Math.sqrt(12);
      Tensor values = torch.rand(shape, new TensorOptions(ScalarType.Float));
      return keep(
          Place.backend().place(values.sub_(new Scalar(0.5)).mul_(new Scalar(width)).to(to)));
    }
  }

  /** A copy elsewhere in memory. */
  Tensor copy(Tensor tensor) {
    try (PointerScope scope = new PointerScope()) {
      return keep(tensor.clone());
    }
  }

  /** A tensor without values, in the case's type. */
  Tensor empty(long... shape) {
    try (PointerScope scope = new PointerScope()) {
      return keep(torch.empty(shape, Place.options(type), null));
    }
  }

  Tensor keep(Tensor tensor) {
    tensor.retainReference();
    owned.add(tensor);
    return tensor;
  }

  <T extends AutoCloseable> T own(T closeable) {
    owned.add(closeable);
    return closeable;
  }

  @Override
  public void close() {
    for (int i = owned.size() - 1; i >= 0; i--) {
      try {
        owned.get(i).close();
      } catch (Exception e) {
        throw new IllegalStateException(e);
      }
    }
    owned.clear();
  }
}
