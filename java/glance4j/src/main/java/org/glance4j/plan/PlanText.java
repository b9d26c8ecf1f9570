package org.glance4j.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/** What a {@link SchedulePlan} says in words. */
final class PlanText {
  private static final String NAMED = "%-14s  ";

  private PlanText() {}

  static String splitReason(SchedulePlan plan) {
    PhaseSplit split = plan.split();
    return String.format(
        Locale.ROOT,
        "slow ends after step %d of %d: the curvature changes most at sigma %.4f, from %.2f to %.2f"
            + " on average",
        plan.slowSteps(),
        plan.steps().size(),
        split.sigma(),
        split.slowMean(),
        split.fastMean());
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
    errors(plan).forEach(line -> lines.add("#   " + line));
    lines.add("# " + plan.splitReason());
    plan.steps().forEach(step -> lines.add(step.toString()));
    return lines.stream().collect(Collectors.joining("\n", "", "\n"));
  }

  /** The errors as a table, without a line break at the end of a line. */
  static List<String> errors(SchedulePlan plan) {
    List<String> lines = new ArrayList<>();
    if (plan.inputs().ownCfg()) {
      lines.add(
          String.format(
              Locale.ROOT, NAMED + "%10s  %10s", "", "cfg " + plan.inputs().cfg(), "own cfgs"));
    }
    lines.add(errorLine(plan, plan.errors()));
    plan.others().forEach(other -> lines.add(errorLine(plan, other)));
    if (plan.inputs().ownCfg()) {
      lines.add(
          plan.hasFittedCfgs() ? "taken with own cfgs" : "taken with one cfg: own gain too little");
    }
    return lines;
  }

  private static String errorLine(SchedulePlan plan, SchedulePlan.ScheduleError of) {
    String line = String.format(Locale.ROOT, NAMED + "%10.4f", of.schedule(), of.error());
    return plan.inputs().ownCfg()
        ? line + String.format(Locale.ROOT, "  %10.4f", of.fittedError())
        : line;
  }

  /** A line break would end the comment. */
  private static String inLine(String text) {
    return text.replaceAll("\\R", " ");
  }
}
