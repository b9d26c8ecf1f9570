package org.glance4j.schedule;

/**
 * One step of a schedule: the transformer is evaluated once (twice with CFG) at {@code timestep},
 * then the latents move by {@code dt * velocity}.
 *
 * @param phase which adapter serves it
 * @param timestep what the transformer is told, 0..1000
 * @param sigma the noise level before the step, 0..1
 * @param nextSigma the noise level after the step, below {@code sigma}; 0 after the last one
 */
public record Step(Phase phase, float timestep, float sigma, float nextSigma) {
  /** The Euler step, negative: the difference of the sigmas in f32, as diffusers takes it. */
  public float dt() {
    return nextSigma - sigma;
  }
}
