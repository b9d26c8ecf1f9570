package org.glance4j.benchmarks.kernel;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.DType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.ModulatedNorm;
import org.glance4j.kernel.ModulatedNorm.Norm;

/** modulated_norm as adaLN uses it: LayerNorm, scale and shift. UNFUSED is LibTorch's sequence. */
final class ModulatedNormCase {
  static final String OPERATION = "modulated_norm";

  private static final double EPSILON = 1e-6;

  private record State(Tensor x, Tensor scale, Tensor shift) {}

  private final RowsShape shape;
  private final ModulatedNorm ours = ModulatedNorm.on(Place.backend());
  private final ModulatedNorm unfused = ModulatedNorm.on(Backend.TORCH);
  private final List<State> states = new ArrayList<>();

  private ModulatedNormCase(RowsShape shape, Inputs inputs) {
    this.shape = shape;
    for (int i = 0; i < shape.copies(); i++) {
      states.add(
          new State(
              inputs.random(1, shape.batch(), shape.tokens(), shape.width()),
              inputs.random(0.5, shape.batch(), 1, shape.width()),
              inputs.random(0.5, shape.batch(), 1, shape.width())));
    }
  }

  static KernelCase open(RowsShape shape, DType dtype) {
    KernelCase.Name name = new KernelCase.Name(OPERATION, shape.family(), shape.text(), dtype, 0);
    return Inputs.open(
        dtype,
        inputs -> {
          ModulatedNormCase work = new ModulatedNormCase(shape, inputs);
          work.check(name, inputs);
          Cost cost = Cost.memory(2 * shape.elements() * Inputs.bytesPerElement(dtype));
          return new KernelCase(name, cost, inputs)
              .with(Contender.OURS, turn -> work.run(work.ours, turn))
              .with(Contender.UNFUSED, turn -> work.run(work.unfused, turn));
        });
  }

  private void run(ModulatedNorm norm, int turn) {
    try (PointerScope scope = new PointerScope()) {
      forward(norm, states.get(turn % states.size()));
    }
  }

  private static Tensor forward(ModulatedNorm norm, State state) {
    return norm.forward(state.x(), Norm.LAYER, EPSILON, state.scale(), state.shift());
  }

  private void check(KernelCase.Name name, Inputs inputs) {
    try (PointerScope scope = new PointerScope()) {
      State state = states.get(0);
      Tensor x = state.x().to(ScalarType.Double);
      Tensor centred = x.sub(mean(x));
      Tensor deviation = mean(centred.square()).add_(new Scalar(EPSILON)).sqrt_();
      Tensor exact =
          centred
              .div(deviation)
              .mul(state.scale().to(ScalarType.Double).add_(new Scalar(1)))
              .add(state.shift());
      Checks.close(name, "ours", forward(ours, state), exact, inputs.seed());
      Checks.close(name, "unfused", forward(unfused, state), exact, inputs.seed());
    }
  }

  private Tensor mean(Tensor x) {
    return x.sum(new long[] {-1}, true, null).div_(new Scalar((double) shape.width()));
  }
}
