package org.glance4j.schedule;

import org.jspecify.annotations.Nullable;

/**
 * One step of a schedule: the transformer is evaluated once (twice with CFG) at {@code timestep},
 * then the latents move by {@code dt * velocity}.
 *
 * @param phase which adapter serves it
 * @param timestep what the transformer is told, 0..1000
 * @param sigma the noise level before the step, 0..1
 * @param nextSigma the noise level after the step, below {@code sigma}; 0 after the last one
 * @param cfg the step's own classifier-free guidance; 1 leaves it out, and with it an evaluation;
 *     null where the step has none, and the request's counts
 */
public record Step(Phase phase, float timestep, float sigma, float nextSigma, @Nullable Float cfg) {
  /** A step without a guidance of its own. */
  public Step(Phase phase, float timestep, float sigma, float nextSigma) {
    this(phase, timestep, sigma, nextSigma, null);
  }

  /** The scale of classifier-free guidance: its own, or else {@code requested}. */
  public float cfg(float requested) {
    return cfg == null ? requested : cfg;
  }

  /** The Euler step, negative: the difference of the sigmas in f32, as diffusers takes it. */
  public float dt() {
    return nextSigma - sigma;
  }
}
