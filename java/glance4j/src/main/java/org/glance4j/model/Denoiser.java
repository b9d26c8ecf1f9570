package org.glance4j.model;

import org.bytedeco.pytorch.Tensor;

/**
 * A transformer made ready for one generation: prompts, size, schedule and adapters are fixed, what
 * does not depend on the latents is computed. For one thread.
 */
@FunctionalInterface
public interface Denoiser {
  /**
   * Evaluates the transformer for one step.
   *
   * @param stepIndex which step of the schedule, from 0
   * @param latents packed latents, f32 [1, tokens, channels]
   * @return tensors of the caller's {@link org.bytedeco.javacpp.PointerScope}
   */
  Velocity velocity(int stepIndex, Tensor latents);
}
