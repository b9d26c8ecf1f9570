package org.glance4j.train;

import java.util.Locale;

/**
 * What an adapter learns to predict at a noisy {@code x} of noise level {@code sigma_i}, where
 * {@code sigma_0 > sigma_1 > ... > sigma_n = 0} are the schedule's sigmas. Its text form is its
 * name in lower case with {@code -}.
 */
public enum TrainingTarget {
  /**
   * The published recipe (arXiv 2512.02899): {@code x = (1 - sigma) x_0 + sigma * noise}, target
   * {@code noise - x_0}, where {@code x_0} are the latents of a picture. Needs the picture.
   */
  FLOW,
  /**
   * The base model's mean velocity over the whole step: with {@code x_i} the points of its own
   * 50-step trajectory at the schedule's sigmas, {@code x = x_i} and the target is {@code (x_i -
   * x_{i+1}) / (sigma_i - sigma_{i+1})}. Sampling with CFG then walks the trajectory in few steps.
   * Needs captions only.
   */
  CHORD,
  /**
   * {@link #CHORD} of the trajectory with CFG, predicted from the prompt alone: CFG is baked in,
   * and sampling takes one evaluation a step.
   */
  CHORD_CFG,
  /**
   * {@link #CHORD}, but after a while {@code x} is where the student itself arrives at {@code
   * sigma_i}, and the target leads from there to the trajectory's {@code x_{i+1}}: it learns to
   * undo its own drift.
   */
  ON_POLICY;

  /** True if a picture is learnt from; otherwise the base model is the teacher. */
  public boolean needsPicture() {
    return this == FLOW;
  }

  /**
   * The target named {@code text}.
   *
   * @throws IllegalArgumentException if there is none
   */
  public static TrainingTarget parse(String text) {
    for (TrainingTarget target : values()) {
      if (target.toString().equals(text.toLowerCase(Locale.ROOT))) {
        return target;
      }
    }
    throw new IllegalArgumentException(
        "target \"" + text + "\" is not known; use flow, chord, chord-cfg or on-policy");
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
