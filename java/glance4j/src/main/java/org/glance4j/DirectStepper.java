package org.glance4j;

import java.util.List;
import java.util.Objects;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Cfg;
import org.glance4j.kernel.FlowStep;
import org.glance4j.model.Denoiser;
import org.glance4j.model.Velocity;
import org.glance4j.schedule.Step;
import org.jspecify.annotations.Nullable;

/** A {@link Stepper} that queues each step's operations one by one, on every backend. */
final class DirectStepper implements Stepper {
  private final Denoiser denoiser;
  private final FlowStep flowStep;
  private final Cfg cfg;
  private final List<Step> steps;
  private @Nullable Tensor latents;

  DirectStepper(Denoiser denoiser, FlowStep flowStep, Cfg cfg, List<Step> steps) {
    this.denoiser = denoiser;
    this.flowStep = flowStep;
    this.cfg = cfg;
    this.steps = steps;
  }

  @Override
  public Tensor begin(Tensor noise) {
    latents = noise;
    return noise;
  }

  @Override
  public Velocity step(int index) {
    Tensor moved = Objects.requireNonNull(latents, "begin comes first");
    Step step = steps.get(index);
    Cfg own = cfg.at(step.cfg(cfg.scale()));
    Velocity velocity = denoiser.velocity(index, moved, own);
    flowStep.update(
        moved,
        velocity.positive(),
        velocity.negative(),
        velocity.applied(own),
        step.sigma(),
        step.nextSigma(),
        null);
    flowStep.backend().synchronize();
    return velocity;
  }

  @Override
  public void close() {
    denoiser.close();
  }
}
