package org.glance4j.schedule;

import java.util.Collections;

/** {@link ScheduleSpec#base}. */
record BaseSpec(int steps) implements ScheduleSpec {
  static final int DEFAULT_STEPS = 50;
  static final int MAX_STEPS = 1000;

  BaseSpec {
    if (steps < 1 || steps > MAX_STEPS) {
      throw new IllegalArgumentException("steps " + steps + " must be from 1 to " + MAX_STEPS);
    }
  }

  @Override
  public Schedule resolve(SigmaShift shift, int imageTokens) {
    return Schedule.alongSigmas(
        toString(),
        Collections.nCopies(steps, Phase.BASE),
        shift.sigmas(steps, imageTokens),
        shift);
  }

  @Override
  public String toString() {
    return steps == DEFAULT_STEPS ? "base" : "base-" + steps;
  }
}
