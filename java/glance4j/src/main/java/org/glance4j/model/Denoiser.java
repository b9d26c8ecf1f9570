package org.glance4j.model;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Cfg;

/**
 * A transformer made ready for one generation: prompts, size, schedule and adapters are fixed, what
 * does not depend on the latents is computed. For one thread, which must close it: until then the
 * transformer stays in memory.
 *
 * <p>Of a model opened for training it may be used again while the adapters' values change: each
 * evaluation records its own gradients.
 */
public interface Denoiser extends AutoCloseable {
  /**
   * Evaluates the transformer for one step.
   *
   * @param stepIndex which step of the schedule, from 0
   * @param latents packed latents, f32 [1, tokens, channels]
   * @return tensors of the caller's {@link org.bytedeco.javacpp.PointerScope}
   */
  Velocity velocity(int stepIndex, Tensor latents);

  /**
   * As {@link #velocity(int, Tensor)} without the negative prompt, whether there is one or not: one
   * evaluation.
   */
  Velocity unguided(int stepIndex, Tensor latents);

  /**
   * What a step needs that combines velocities as {@code cfg} says: both, or the prompt's alone. To
   * be combined as {@link Velocity#applied} says.
   */
  default Velocity velocity(int stepIndex, Tensor latents, Cfg cfg) {
    return cfg.isOff() ? unguided(stepIndex, latents) : velocity(stepIndex, latents);
  }

  /**
   * The same for the step that {@code table}, of this generation, has selected when the work runs
   * on the device: what can be recorded once and run for every step. What is computed beforehand
   * belongs to the caller's scope.
   */
  Selected selected(StepTable table);

  /** Lets the transformer go; what was computed stays. Idempotent. */
  @Override
  default void close() {
    // Nothing is held.
  }

  /** {@link #velocity} of a step that is chosen elsewhere. */
  @FunctionalInterface
  interface Selected {
    /**
     * Evaluates the transformer.
     *
     * @param latents packed latents, f32 [1, tokens, channels]
     * @return tensors of the caller's scope
     */
    Velocity velocity(Tensor latents);
  }
}
