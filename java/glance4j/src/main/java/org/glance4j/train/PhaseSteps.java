package org.glance4j.train;

import java.util.List;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.Step;

/**
 * The steps of a schedule that one expert serves: a run of them.
 *
 * @param schedule whole
 * @param first index of the run's first step
 * @param count how many there are
 */
record PhaseSteps(Schedule schedule, int first, int count) {
  /**
   * The steps of {@code phases}.
   *
   * @throws IllegalArgumentException if there are none
   */
  static PhaseSteps of(Schedule schedule, List<Phase> phases) {
    List<Step> steps = schedule.steps();
    int first = 0;
    while (first < steps.size() && !phases.contains(steps.get(first).phase())) {
      first++;
    }
    int end = first;
    while (end < steps.size() && phases.contains(steps.get(end).phase())) {
      end++;
    }
    if (first == end) {
      throw new IllegalArgumentException(
          "schedule %s has no %s step, so there is nothing to train; choose another"
              .formatted(schedule.name(), phases.get(0)));
    }
    return new PhaseSteps(schedule, first, end - first);
  }

  /** The schedule's index after the run's last step. */
  int end() {
    return first + count;
  }

  /** Step {@code index} of the run, from 0. */
  Step get(int index) {
    return schedule.steps().get(first + index);
  }
}
