package org.glance4j.kernel;

import static org.glance4j.kernel.Operations.F16;
import static org.glance4j.kernel.Operations.assertRefused;

import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.kernel.LoraMatmul.Linear;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** f16 is for every backend but the CPU's kernels, which say so. */
class HalfPrecisionTest {
  private record Operation(String name, Consumer<Backend> call) {
    @Override
    public String toString() {
      return name;
    }
  }

  static Stream<Operation> operations() {
    NativeRuntime.initialize();
    return Stream.of(
        new Operation("matrix", HalfPrecisionTest::pack),
        new Operation("x", HalfPrecisionTest::matmul),
        new Operation("latents", HalfPrecisionTest::flowStep),
        new Operation(
            "residual", b -> GatedSum.on(b).forward(half(1, 2, 8), half(1, 8), half(1, 2, 8))),
        new Operation(
            "x",
            b ->
                ModulatedNorm.on(b)
                    .forward(half(1, 2, 8), ModulatedNorm.Norm.LAYER, 1e-6, null, null)),
        new Operation("q", HalfPrecisionTest::normRope),
        new Operation(
            "q",
            b ->
                SoftmaxAttention.on(b)
                    .forward(
                        half(1, 2, 3, 8), half(1, 2, 3, 8), half(1, 2, 3, 8), 1, half(1, 3, 2, 8))),
        new Operation("x", HalfPrecisionTest::backward));
  }

  private static Tensor half(long... shape) {
    return torch.randn(shape).to(F16);
  }

  private static void pack(Backend backend) {
    PackedMatrix.of(backend, half(4, 8)).close();
  }

  private static void matmul(Backend backend) {
    Tensor weight = backend == Backend.CPU ? torch.randn(4, 8) : half(4, 8);
    try (PackedMatrix packed = PackedMatrix.of(backend, weight)) {
      LoraMatmul.on(backend)
          .forward(
              half(3, 8), List.of(new Linear(packed, null, half(3, 4), Activation.NONE, null)));
    }
  }

  private static void flowStep(Backend backend) {
    FlowStep.on(backend, FlowStep.Rounding.ONCE).update(half(4, 8), half(4, 8), 1, 0.5f);
  }

  private static void normRope(Backend backend) {
    QkNormRope.on(backend)
        .forward(
            half(1, 3, 2, 8),
            half(1, 3, 2, 8),
            null,
            half(8),
            half(8),
            1e-6,
            torch.randn(3, 4, 2),
            half(1, 2, 3, 8),
            half(1, 2, 3, 8),
            null);
  }

  private static void backward(Backend backend) {
    Tensor gradient = torch.zeros(new long[] {4, 8}, new TensorOptions(Operations.F32));
    LoraBackward.on(backend)
        .backward(
            half(3, 8), half(3, 5), half(4, 8), half(5, 4), 1, null, null, gradient, null, false);
  }

  @ParameterizedTest
  @MethodSource("operations")
  void theCpusKernelsRefuseItAndLibTorchTakesIt(Operation operation) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      assertRefused(operation.name + " is of type Half", () -> operation.call.accept(Backend.CPU));
      assertRefused("backend cuda or torch", () -> operation.call.accept(Backend.CPU));
      operation.call.accept(Backend.TORCH);
    }
  }
}
