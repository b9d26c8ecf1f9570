package org.glance4j.schedule;

/**
 * The roundings of the authors' training code: it holds timesteps in bfloat16, mixes noise at the
 * nearest noise level of an even grid of a thousand, and divides the timestep in bfloat16 once more
 * before the model sees it. So what the model is told is not quite what the noise is.
 */
public final class PublishedTimesteps {
  private static final int GRID = 1000;

  private PublishedTimesteps() {}

  /**
   * The step that their code trains for {@code step}: of its phase, with the noise level and the
   * timestep as they come out there.
   *
   * @param step of a schedule with timesteps 0..1000
   */
  public static Step training(Step step) {
    float held = OfficialSpec.toBfloat16(step.timestep());
    float sigma = nearest(held) / (float) GRID;
    float told = OfficialSpec.toBfloat16(held / GRID) * GRID;
    return new Step(step.phase(), told, sigma, step.nextSigma());
  }

  /** The nearest of 1..1000; of two the larger. */
  private static int nearest(float timestep) {
    return Math.min(GRID, Math.max(1, (int) Math.floor(timestep + 0.5f)));
  }
}
