package org.glance4j.plan;

/**
 * Is told how far a plan is, on the planning thread. An exception it throws ends the planning and
 * reaches the caller.
 */
@FunctionalInterface
public interface PlanListener {
  /**
   * Called after each prompt's run.
   *
   * @param activity what is being done, in a few words
   * @param done how many prompts it is done for, at least 1
   * @param total how many prompts there are
   */
  void onProgress(String activity, int done, int total);
}
