package org.glance4j.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.PhaseSigma;

/** What a {@link SchedulePlan} says in words. */
final class PlanText {
  private PlanText() {}

  static int slowSteps(List<PhaseSigma> steps) {
    return (int) steps.stream().filter(step -> step.phase() == Phase.SLOW).count();
  }

  static String splitReason(SchedulePlan plan) {
    int slow = plan.slowSteps();
    return String.format(
        Locale.ROOT,
        "slow ends at sigma %.4f, after %d of %d steps: two constants fit the curvature of the"
            + " steps best there, %.2f before and %.2f after",
        plan.nextSigma(slow - 1),
        slow,
        plan.steps().size(),
        mean(plan.stepCurvature().subList(0, slow)),
        mean(plan.stepCurvature().subList(slow, plan.steps().size())));
  }

  private static double mean(List<Double> values) {
    return values.stream().mapToDouble(Double::doubleValue).average().orElseThrow();
  }

  static String file(SchedulePlan plan) {
    PlanInputs inputs = plan.inputs();
    List<String> lines = new ArrayList<>();
    lines.add(
        String.format(
            Locale.ROOT,
            "# %d steps planned for %s, %s, cfg %s, guidance %s",
            plan.steps().size(),
            inLine(inputs.model()),
            inputs.size(),
            inputs.cfg(),
            inputs.guidance()));
    lines.add("# prompts, with seeds from %d:".formatted(inputs.seed()));
    inputs.prompts().forEach(prompt -> lines.add("#   " + inLine(prompt)));
    lines.add("# error of the latents on these prompts, relative to 50 steps:");
    lines.add(errorLine("this schedule", plan.error()));
    plan.others().forEach(other -> lines.add(errorLine(other.schedule(), other.error())));
    lines.add("# " + plan.splitReason());
    plan.steps().forEach(step -> lines.add(step.toString()));
    return lines.stream().collect(Collectors.joining("\n", "", "\n"));
  }

  private static String errorLine(String schedule, double error) {
    return String.format(Locale.ROOT, "#   %-14s %.4f", schedule, error);
  }

  /** A line break would end the comment. */
  private static String inLine(String text) {
    return text.replaceAll("\\R", " ");
  }
}
