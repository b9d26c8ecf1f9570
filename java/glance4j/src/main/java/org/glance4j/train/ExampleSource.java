package org.glance4j.train;

/** Where an expert's examples come from. Which one it gives depends on the place asked for only. */
@FunctionalInterface
interface ExampleSource {
  /**
   * An example; its new tensors belong to the caller's scope.
   *
   * @param step of the training, from 0
   * @param index within the step's batch, from 0
   * @param adapter as it stands before the step, for targets that depend on it
   */
  Example at(int step, int index, TrainableAdapter adapter);
}
