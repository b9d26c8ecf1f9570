package org.glance4j.train;

import org.glance4j.schedule.Phase;

/** Is told how a training goes, on the thread that trains. */
@FunctionalInterface
public interface TrainingListener {
  /** A step is done. May call {@link OneSampleTrainer#cancel()}. */
  void onStep(TrainingStep step);

  /**
   * The base model has walked one of the trajectories that it teaches or validates with.
   *
   * @param done how many, this one included
   * @param all how many there are to walk
   */
  default void onTrajectory(int done, int all) {}

  /**
   * An adapter has been tried on the validation captions.
   *
   * @param phase whose expert
   * @param steps how many it has taken, 0 for the untrained adapter
   * @param error how far the sampled latents at the phase's end are from the base model's own: the
   *     root mean square, its geometric mean over the captions
   */
  default void onValidation(Phase phase, int steps, double error) {}
}
