package org.glance4j.benchmarks.kernel;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.DType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.Cfg;
import org.glance4j.kernel.FlowStep;
import org.jspecify.annotations.Nullable;

/**
 * flow_step: f32 latents, velocities of the case's type. UNFUSED is the chain of LibTorch
 * operations. Latents are updated in place and back again, so that they stay as large as they are.
 */
final class FlowStepCase {
  static final String OPERATION = "flow_step";

  private static final float SIGMA = 0.75f;
  private static final float SIGMA_NEXT = 0.5f;

  /** The transformer has just written its velocities: in a cache, but not in the innermost. */
  private static final int COPIES = 4;

  private record State(Tensor latents, Tensor velocity, @Nullable Tensor negative) {}

  private final FlowShape shape;
  private final FlowStep ours = FlowStep.on(Place.backend(), FlowStep.Rounding.ONCE);
  private final FlowStep unfused = FlowStep.on(Backend.TORCH, FlowStep.Rounding.ONCE);
  private final List<State> states = new ArrayList<>();

  private FlowStepCase(FlowShape shape, Inputs inputs) {
    this.shape = shape;
    for (int i = 0; i < COPIES; i++) {
      states.add(
          new State(
              inputs.randomF32(1, 1, shape.tokens(), FlowShape.CHANNELS),
              inputs.random(1, 1, shape.tokens(), FlowShape.CHANNELS),
              shape.cfg().mode() == Cfg.Mode.NONE
                  ? null
                  : inputs.random(1, 1, shape.tokens(), FlowShape.CHANNELS)));
    }
  }

  static KernelCase open(FlowShape shape, DType dtype) {
    KernelCase.Name name = new KernelCase.Name(OPERATION, shape.family(), shape.text(), dtype, 0);
    return Inputs.open(
        dtype,
        inputs -> {
          FlowStepCase work = new FlowStepCase(shape, inputs);
          work.check(name, inputs);
          return new KernelCase(name, cost(shape, dtype), inputs)
              .with(Contender.OURS, turn -> work.run(work.ours, turn))
              .with(Contender.UNFUSED, turn -> work.run(work.unfused, turn));
        });
  }

  private static Cost cost(FlowShape shape, DType dtype) {
    double elements = (double) shape.tokens() * FlowShape.CHANNELS;
    int velocities = shape.cfg().mode() == Cfg.Mode.NONE ? 1 : 2;
    return Cost.memory(elements * (2 * Float.BYTES + velocities * Inputs.bytesPerElement(dtype)));
  }

  private void run(FlowStep step, int turn) {
    State state = states.get(turn % COPIES);
    boolean forth = turn / COPIES % 2 == 0;
    update(step, state, state.latents(), forth ? SIGMA : SIGMA_NEXT, forth ? SIGMA_NEXT : SIGMA);
  }

  private void update(FlowStep step, State state, Tensor latents, float sigma, float sigmaNext) {
    step.update(latents, state.velocity(), state.negative(), shape.cfg(), sigma, sigmaNext, null);
  }

  private void check(KernelCase.Name name, Inputs inputs) {
    try (PointerScope scope = new PointerScope()) {
      for (State state : states) {
        Tensor exact = exact(state);
        for (FlowStep step : List.of(ours, unfused)) {
          Tensor latents = state.latents().clone();
          update(step, state, latents, SIGMA, SIGMA_NEXT);
          Checks.close(name, step.backend().toString(), latents, exact, 1e-6, inputs.seed());
        }
      }
    }
  }

  private Tensor exact(State state) {
    Tensor positive = state.velocity().to(ScalarType.Double);
    Tensor velocity = positive;
    if (state.negative() != null) {
      Tensor negative = state.negative().to(ScalarType.Double);
      velocity = negative.add(positive.sub(negative).mul(new Scalar((double) shape.cfg().scale())));
    }
    if (shape.cfg().mode() == Cfg.Mode.RESCALED) {
      velocity = velocity.mul(norm(positive).div(norm(velocity)));
    }
    double step = (double) SIGMA_NEXT - SIGMA;
    return state.latents().to(ScalarType.Double).add(velocity.mul(new Scalar(step)));
  }

  private static Tensor norm(Tensor tensor) {
    return tensor.square().sum(new long[] {-1}, true, null).sqrt();
  }
}
