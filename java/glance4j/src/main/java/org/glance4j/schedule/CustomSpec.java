package org.glance4j.schedule;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;

/** {@link ScheduleSpec#custom}. */
record CustomSpec(List<PhaseSigma> steps) implements ScheduleSpec {
  CustomSpec {
    steps = List.copyOf(steps);
    if (steps.isEmpty() || steps.size() > BaseSpec.MAX_STEPS) {
      throw new IllegalArgumentException(
          "a custom schedule of " + steps.size() + " steps; use 1 to " + BaseSpec.MAX_STEPS);
    }
    for (int i = 1; i < steps.size(); i++) {
      requireBelow(steps.get(i - 1), steps.get(i));
      if ((steps.get(i).cfg() == null) != (steps.get(0).cfg() == null)) {
        throw new IllegalArgumentException(
            "a custom schedule of which only some steps have a cfg; give one to all or to none");
      }
    }
  }

  static void requireBelow(PhaseSigma previous, PhaseSigma next) {
    if (next.sigma() >= previous.sigma()) {
      throw new IllegalArgumentException(
          "sigma " + next.sigma() + " must be below the " + previous.sigma() + " before it");
    }
  }

  @Override
  public Schedule resolve(SigmaShift shift, int imageTokens) {
    float[] sigmas = new float[steps.size() + 1];
    for (int i = 0; i < steps.size(); i++) {
      sigmas[i] = steps.get(i).sigma();
    }
    List<Step> resolved = new ArrayList<>();
    for (int i = 0; i < steps.size(); i++) {
      PhaseSigma step = steps.get(i);
      float timestep = shift.timestep(sigmas[i]);
      resolved.add(new Step(step.phase(), timestep, sigmas[i], sigmas[i + 1], step.cfg()));
    }
    return new Schedule(toString(), resolved);
  }

  @Override
  public ScheduleSpec resized(SigmaShift shift, int madeForTokens, int imageTokens) {
    if (madeForTokens == imageTokens) {
      return this;
    }
    return new CustomSpec(
        steps.stream()
            .map(
                step ->
                    new PhaseSigma(
                        step.phase(),
                        shift.resized(step.sigma(), madeForTokens, imageTokens),
                        step.cfg()))
            .toList());
  }

  @Override
  public String toString() {
    return steps.stream()
        .map(PhaseSigma::toString)
        .collect(Collectors.joining(", ", "custom:[", "]"));
  }
}
