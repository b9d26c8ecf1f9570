package org.glance4j.schedule;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** {@link ScheduleSpec#glance(int, int)}. */
record GlanceSpec(int slowSteps, int fastSteps) implements ScheduleSpec {
  static final int BASE_STEPS = 50;

  /** Where the fast phase begins, counted from 0. */
  private static final int FAST_START = 10;

  private static final int FAST_LENGTH = BASE_STEPS - FAST_START;

  GlanceSpec {
    if (slowSteps < 1 || slowSteps > FAST_START) {
      throw new IllegalArgumentException(
          "slowSteps " + slowSteps + " must be from 1 to " + FAST_START);
    }
    if (fastSteps < 1 || fastSteps > FAST_LENGTH) {
      throw new IllegalArgumentException(
          "fastSteps " + fastSteps + " must be from 1 to " + FAST_LENGTH);
    }
  }

  @Override
  public Schedule resolve(SigmaShift shift, int imageTokens) {
    return Schedule.alongSigmas(toString(), phases(), keptSigmas(shift, imageTokens), shift);
  }

  List<Phase> phases() {
    List<Phase> phases = new ArrayList<>(Collections.nCopies(slowSteps, Phase.SLOW));
    phases.addAll(Collections.nCopies(fastSteps, Phase.FAST));
    return phases;
  }

  /** The kept steps' sigmas, then 0. */
  float[] keptSigmas(SigmaShift shift, int imageTokens) {
    float[] base = shift.sigmas(BASE_STEPS, imageTokens);
    float[] kept = new float[slowSteps + fastSteps + 1];
    for (int k = 0; k < slowSteps; k++) {
      kept[k] = base[FAST_START * k / slowSteps];
    }
    for (int k = 0; k < fastSteps; k++) {
      // The last interval is one step shorter than the others: 50, not 51, is the last step.
      int step = FAST_START + FAST_LENGTH * k / Math.max(1, fastSteps - 1);
      kept[slowSteps + k] = base[Math.min(step, BASE_STEPS - 1)];
    }
    return kept;
  }

  @Override
  public String toString() {
    return slowSteps == 5 && fastSteps == 5 ? "glance" : "glance-" + slowSteps + "-" + fastSteps;
  }
}
