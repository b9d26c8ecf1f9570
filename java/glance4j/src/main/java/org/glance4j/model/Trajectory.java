package org.glance4j.model;

import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Cfg;
import org.glance4j.kernel.FlowStep;
import org.glance4j.schedule.Step;

/** Walks latents along a schedule and shows every step to a visitor. */
public final class Trajectory {
  private Trajectory() {}

  /** Sees a step before it is taken. */
  @FunctionalInterface
  public interface Visitor {
    /**
     * One step. The tensors are valid during the call only; {@code clone} and {@code
     * retainReference} what is to be kept.
     *
     * @param index of the step, from 0
     * @param step its sigmas
     * @param latents where it starts, f32 [1, tokens, channels]
     * @param velocity along which it goes, CFG combined, of latents' shape and the model's type
     */
    void at(int index, Step step, Tensor latents, Tensor velocity);
  }

  /**
   * Walks {@code steps}.
   *
   * @param denoiser made for a schedule with these steps
   * @param steps all of its steps
   * @param cfg {@link Cfg#NONE} exactly if the denoiser has no negative prompt; steps may have a
   *     scale of their own
   * @param latents where to start, f32 [1, tokens, channels]; changed in place to where the walk
   *     ends
   */
  public static void walk(
      Denoiser denoiser,
      List<Step> steps,
      FlowStep flowStep,
      Cfg cfg,
      Tensor latents,
      Visitor visitor) {
    for (int i = 0; i < steps.size(); i++) {
      try (PointerScope scope = new PointerScope()) {
        Step step = steps.get(i);
        Cfg own = cfg.at(step.cfg(cfg.scale()));
        Velocity velocity = denoiser.velocity(i, latents, own);
        visitor.at(i, step, latents, velocity.combined(own));
        flowStep.update(
            latents,
            velocity.positive(),
            velocity.negative(),
            velocity.applied(own),
            step.sigma(),
            step.nextSigma(),
            null);
        flowStep.backend().synchronize();
      }
    }
  }
}
