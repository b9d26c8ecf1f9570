package org.glance4j.train;

/** Is told how a training goes, on the thread that trains. */
@FunctionalInterface
public interface TrainingListener {
  /** A step is done. May call {@link OneSampleTrainer#cancel()}. */
  void onStep(TrainingStep step);

  /**
   * The base model has walked one of the trajectories that it teaches from.
   *
   * @param done how many, this one included
   * @param all how many there are to walk
   */
  default void onTrajectory(int done, int all) {}
}
