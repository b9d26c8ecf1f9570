package org.glance4j.benchmarks.kernel;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.DType;
import org.glance4j.kernel.LoraBackward;
import org.glance4j.kernel.PackedMatrix;

/**
 * lora_linear_backward: dx, dA and dB. PLAIN is dy W alone, what a linear without an adapter needs.
 * UNFUSED is LibTorch's products, in the order that costs least, with the sums folded into them.
 */
final class LoraBackwardCase {
  static final String OPERATION = "lora_linear_backward";

  private static final float SCALE = 0.75f;

  private record State(
      Tensor x, Tensor dy, Tensor weight, PackedMatrix transposed, Tensor down, Tensor up) {}

  /** dA and dB are f32 from our kernel, and of the case's type from LibTorch. */
  private record Gradients(Tensor dx, Tensor dDown, Tensor dUp) {}

  private final BackwardShape shape;
  private final int rank;
  private final TensorOptions options;
  private final TensorOptions f32 = Place.options(ScalarType.Float);
  private final Scalar scale = new Scalar(SCALE);
  private final LoraBackward ours = LoraBackward.on(Place.backend());
  private final List<State> states = new ArrayList<>();

  private LoraBackwardCase(BackwardShape shape, int rank, DType dtype, Inputs inputs) {
    this.shape = shape;
    this.rank = rank;
    this.options = Place.options(Inputs.type(dtype));
    for (int i = 0; i < shape.copies(); i++) {
      states.add(state(inputs));
    }
  }

  private State state(Inputs inputs) {
    long in = shape.inFeatures();
    long out = shape.outFeatures();
    Tensor weight = inputs.random(1 / Math.sqrt((double) out), out, in);
    try (PointerScope scope = new PointerScope()) {
      return new State(
          inputs.random(1, shape.rows(), in),
          inputs.random(1, shape.rows(), out),
          weight,
          inputs.own(PackedMatrix.of(Place.backend(), weight.t())),
          inputs.random(1 / Math.sqrt((double) in), rank, in),
          inputs.random(1 / Math.sqrt(rank), out, rank));
    }
  }

  static KernelCase open(BackwardShape shape, int rank, DType dtype) {
    KernelCase.Name name =
        new KernelCase.Name(OPERATION, shape.family(), shape.text(), dtype, rank);
    return Inputs.open(
        dtype,
        inputs -> {
          LoraBackwardCase work = new LoraBackwardCase(shape, rank, dtype, inputs);
          work.check(name, inputs);
          return new KernelCase(name, work.cost(dtype), inputs)
              .with(Contender.OURS, work::runOurs)
              .with(Contender.PLAIN, work::runPlain)
              .with(Contender.UNFUSED, work::runUnfused);
        });
  }

  private Cost cost(DType dtype) {
    double rows = shape.rows();
    double in = shape.inFeatures();
    double out = shape.outFeatures();
    // dx; g and x A^T; g A and g^T x; dB.
    double products = rows * in * out + rows * rank * (2 * out + 3 * in);
    double elements = 2 * rows * in + rows * out + in * out + rank * (in + out);
    double gradients = rank * (in + out) * Float.BYTES;
    return Cost.matmul(2 * products, elements * Inputs.bytesPerElement(dtype) + gradients);
  }

  private void runOurs(int turn) {
    try (PointerScope scope = new PointerScope()) {
      fused(state(turn));
    }
  }

  private void runPlain(int turn) {
    try (PointerScope scope = new PointerScope()) {
      State state = state(turn);
      torch.matmul(state.dy(), state.weight());
    }
  }

  private void runUnfused(int turn) {
    try (PointerScope scope = new PointerScope()) {
      unfused(state(turn));
    }
  }

  private State state(int turn) {
    return states.get(turn % states.size());
  }

  private Gradients fused(State state) {
    Gradients to =
        new Gradients(
            torch.empty(new long[] {shape.rows(), shape.inFeatures()}, options, null),
            torch.empty(new long[] {rank, shape.inFeatures()}, f32, null),
            torch.empty(new long[] {shape.outFeatures(), rank}, f32, null));
    ours.backward(
        state.x(),
        state.dy(),
        state.down(),
        state.up(),
        SCALE,
        state.transposed(),
        to.dx(),
        to.dDown(),
        to.dUp(),
        false);
    return to;
  }

  private Gradients unfused(State state) {
    return products(state.x(), state.dy(), state.weight(), state.down(), state.up());
  }

  private Gradients products(Tensor x, Tensor dy, Tensor weight, Tensor down, Tensor up) {
    Tensor g = torch.matmul(dy, up).mul_(scale);
    Tensor h = torch.matmul(x, down.t()).mul_(scale);
    return new Gradients(
        torch.matmul(dy, weight).addmm_(g, down), torch.matmul(g.t(), x), torch.matmul(dy.t(), h));
  }

  private void check(KernelCase.Name name, Inputs inputs) {
    try (PointerScope scope = new PointerScope()) {
      State state = states.get(states.size() - 1);
      Gradients exact =
          products(
              wide(state.x()),
              wide(state.dy()),
              wide(state.weight()),
              wide(state.down()),
              wide(state.up()));
      check(name, "ours", fused(state), exact, inputs);
      check(name, "unfused", unfused(state), exact, inputs);
    }
  }

  private static void check(
      KernelCase.Name name, String who, Gradients actual, Gradients exact, Inputs inputs) {
    Checks.close(name, who + ", dx", actual.dx(), exact.dx(), inputs.seed());
    Checks.close(name, who + ", dA", actual.dDown(), exact.dDown(), inputs.seed());
    Checks.close(name, who + ", dB", actual.dUp(), exact.dUp(), inputs.seed());
  }

  private static Tensor wide(Tensor tensor) {
    return tensor.to(ScalarType.Double);
  }
}
