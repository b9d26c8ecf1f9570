package org.glance4j;

/**
 * Is told of each step, on the generating thread: what it does there delays the next step. An
 * exception it throws ends the generation and reaches the caller.
 */
@FunctionalInterface
public interface GenerationListener {
  /** Called after each step's update of the latents. */
  void onStep(StepEvent event);
}
