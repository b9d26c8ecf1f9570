package org.glance4j.model;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * What the transformer predicts for one step: {@code noise - x_0}.
 *
 * @param positive for the prompt, shape as the latents
 * @param negative for the negative prompt, or null without CFG
 */
public record Velocity(Tensor positive, @Nullable Tensor negative) {
  /** {@code v_neg + cfg * (v_pos - v_neg)}, as a new tensor; {@code v_pos} without CFG. */
  public Tensor combined(double cfg) {
    return negative == null ? positive : negative.add(positive.sub(negative).mul(new Scalar(cfg)));
  }
}
