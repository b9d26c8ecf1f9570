package org.glance4j.benchmarks.kernel;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.DType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.GatedSum;

/** gated_residual. UNFUSED is what LibTorch has for it. */
final class GatedSumCase {
  static final String OPERATION = "gated_residual";

  private record State(Tensor residual, Tensor gate, Tensor update) {}

  private final GatedSum ours = GatedSum.on(Place.backend());
  private final GatedSum unfused = GatedSum.on(Backend.TORCH);
  private final List<State> states = new ArrayList<>();

  private GatedSumCase(RowsShape shape, Inputs inputs) {
    for (int i = 0; i < shape.copies(); i++) {
      states.add(
          new State(
              inputs.random(1, shape.batch(), shape.tokens(), shape.width()),
              inputs.random(1, shape.batch(), 1, shape.width()),
              inputs.random(1, shape.batch(), shape.tokens(), shape.width())));
    }
  }

  static KernelCase open(RowsShape shape, DType dtype) {
    KernelCase.Name name = new KernelCase.Name(OPERATION, shape.family(), shape.text(), dtype, 0);
    return Inputs.open(
        dtype,
        inputs -> {
          GatedSumCase work = new GatedSumCase(shape, inputs);
          work.check(name, inputs);
          Cost cost = Cost.memory(3 * shape.elements() * Inputs.bytesPerElement(dtype));
          return new KernelCase(name, cost, inputs)
              .with(Contender.OURS, turn -> work.run(work.ours, turn))
              .with(Contender.UNFUSED, turn -> work.run(work.unfused, turn));
        });
  }

  private void run(GatedSum sum, int turn) {
    try (PointerScope scope = new PointerScope()) {
      forward(sum, states.get(turn % states.size()));
    }
  }

  private static Tensor forward(GatedSum sum, State state) {
    return sum.forward(state.residual(), state.gate(), state.update());
  }

  private void check(KernelCase.Name name, Inputs inputs) {
    try (PointerScope scope = new PointerScope()) {
      State state = states.get(0);
      Tensor exact =
          state
              .gate()
              .to(ScalarType.Double)
              .mul(state.update().to(ScalarType.Double))
              .add(state.residual());
      Checks.close(name, "ours", forward(ours, state), exact, inputs.seed());
      Checks.close(name, "unfused", forward(unfused, state), exact, inputs.seed());
    }
  }
}
