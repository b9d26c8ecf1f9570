package org.glance4j.schedule;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.OptionalDouble;

/**
 * The steps one generation walks, in order. Immutable.
 *
 * @param name the text form of the {@link ScheduleSpec} it came from
 * @param steps at least one
 */
public record Schedule(String name, List<Step> steps) {
  /** Copies the list. */
  public Schedule {
    steps = List.copyOf(steps);
    if (steps.isEmpty()) {
      throw new IllegalArgumentException("schedule " + name + " has no steps; it needs at least 1");
    }
  }

  /** The number of steps. */
  public int size() {
    return steps.size();
  }

  /** True if some step is served by {@code phase}'s adapter. */
  public boolean has(Phase phase) {
    return steps.stream().anyMatch(step -> step.phase() == phase);
  }

  /** The largest of the steps' own guidances; empty if they have none. */
  public OptionalDouble ownCfg() {
    return steps.stream()
        .map(Step::cfg)
        .filter(Objects::nonNull)
        .mapToDouble(Float::doubleValue)
        .max();
  }

  /**
   * Steps from each sigma to the one after it, labelled with their own sigma.
   *
   * @param phases one a step
   * @param sigmas one more than phases
   */
  static Schedule alongSigmas(String name, List<Phase> phases, float[] sigmas, SigmaShift shift) {
    List<Step> steps = new ArrayList<>();
    for (int i = 0; i < phases.size(); i++) {
      steps.add(new Step(phases.get(i), shift.timestep(sigmas[i]), sigmas[i], sigmas[i + 1]));
    }
    return new Schedule(name, steps);
  }
}
