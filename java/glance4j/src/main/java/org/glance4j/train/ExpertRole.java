package org.glance4j.train;

import java.util.List;
import org.glance4j.schedule.Phase;

/**
 * One of the adapters that a recipe trains.
 *
 * @param index its place among them, from 0
 * @param name of its file, without the ending
 * @param phases that it serves
 */
record ExpertRole(int index, String name, List<Phase> phases) {
  private static final ExpertRole SLOW = of(0, Phase.SLOW);
  private static final ExpertRole FAST = of(1, Phase.FAST);
  private static final ExpertRole SHARED =
      new ExpertRole(0, "shared", List.of(Phase.SLOW, Phase.FAST));

  private static ExpertRole of(int index, Phase phase) {
    return new ExpertRole(index, phase.toString(), List.of(phase));
  }

  static List<ExpertRole> of(TrainingRecipe recipe) {
    return recipe.shared() ? List.of(SHARED) : List.of(SLOW, FAST);
  }

  /** The phase that the expert goes by: its first. */
  Phase phase() {
    return phases.get(0);
  }

  String file() {
    return name + ".safetensors";
  }
}
