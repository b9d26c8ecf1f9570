package org.glance4j.kernel;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;

/**
 * A scope whose tensors are made where a backend computes; outside of any they are on the CPU.
 * Random values come from the CPU's generator everywhere.
 */
final class TestScope implements AutoCloseable {
  private static final ThreadLocal<Backend> CURRENT = ThreadLocal.withInitial(() -> Backend.CPU);

  private final Backend before = CURRENT.get();
  private final PointerScope tensors = new PointerScope();

  private TestScope() {}

  static TestScope on(Backend backend) {
    TestScope scope = new TestScope();
    CURRENT.set(backend);
    return scope;
  }

  static Tensor placed(Tensor tensor) {
    return CURRENT.get().place(tensor);
  }

  static Tensor randn(long... shape) {
    return placed(torch.randn(shape));
  }

  static Tensor rand(long... shape) {
    return placed(torch.rand(shape));
  }

  static Tensor empty(long... shape) {
    return placed(torch.empty(shape));
  }

  static Tensor zeros(long... shape) {
    return placed(torch.zeros(shape));
  }

  static Tensor ones(long... shape) {
    return placed(torch.ones(shape));
  }

  static Tensor full(long[] shape, Scalar value, TensorOptions options) {
    return placed(torch.full(shape, value, options));
  }

  @Override
  public void close() {
    CURRENT.set(before);
    tensors.close();
  }
}
