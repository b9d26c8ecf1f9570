package org.glance4j.plan;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.glance4j.AtomicFile;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.PhaseSigma;
import org.glance4j.schedule.ScheduleSpec;

/**
 * A schedule chosen for a model, and what speaks for it. Immutable.
 *
 * @param inputs what it was planned for
 * @param steps the phase and sigma of each, decreasing: at least one SLOW, then at least one FAST;
 *     all have their own guidance where {@code inputs} allow it, otherwise none
 * @param split where the slow phase ends, and why
 * @param curvature along the fine trajectories
 * @param errors of the best schedules found with one guidance and with a guidance for each step;
 *     the steps are those of one of them
 * @param others the errors of published schedules of as many steps
 */
public record SchedulePlan(
    PlanInputs inputs,
    List<PhaseSigma> steps,
    PhaseSplit split,
    Curvature curvature,
    ScheduleError errors,
    List<ScheduleError> others) {

  /**
   * A schedule's errors on the planning prompts, each the square root of the mean over prompts of
   * {@code |x - x_50|^2 / |x_50|^2}, where x are the final latents and x_50 those of 50 steps.
   *
   * @param schedule its text form, as {@link ScheduleSpec#parse} reads it; "planned" for a plan's
   * @param error with one guidance for every step
   * @param fittedError with guidances fitted to its steps, or left out in the first of them; {@code
   *     error} where the plan's steps have none of their own
   */
  public record ScheduleError(String schedule, double error, double fittedError) {}

  /** Copies the lists. */
  public SchedulePlan {
    steps = List.copyOf(steps);
    others = List.copyOf(others);
  }

  /** The schedule, for a request. */
  public ScheduleSpec spec() {
    return ScheduleSpec.custom(steps);
  }

  /** Of this schedule. */
  public double error() {
    return hasFittedCfgs() ? errors.fittedError() : errors.error();
  }

  /** Whether the steps' guidances are other than the one it was planned for. */
  public boolean hasFittedCfgs() {
    float asked = (float) inputs.cfg();
    return steps.stream().anyMatch(step -> step.cfg() != null && step.cfg() != asked);
  }

  /** How many of the steps are SLOW. */
  public int slowSteps() {
    return (int) steps.stream().filter(step -> step.phase() == Phase.SLOW).count();
  }

  /** Where step {@code index} ends: the next one's sigma, or 0. */
  public float nextSigma(int index) {
    return index + 1 < steps.size() ? steps.get(index + 1).sigma() : 0;
  }

  /** Why the slow phase ends where it does, in one sentence. */
  public String splitReason() {
    return PlanText.splitReason(this);
  }

  /** The errors of this schedule and of others as the lines of a table. */
  public List<String> errorTable() {
    return PlanText.errors(this);
  }

  /** The text that {@link ScheduleSpec#read} reads, with comments that say where it is from. */
  public String text() {
    return PlanText.file(this);
  }

  /**
   * Writes {@link #text} as UTF-8; the file is whole or not there.
   *
   * @throws IOException if it cannot be written
   */
  public void write(Path file) throws IOException {
    AtomicFile.write(file, out -> out.write(text().getBytes(StandardCharsets.UTF_8)));
  }

  /**
   * Writes a PNG of the curvature over sigma, with an upright line at each kept sigma.
   *
   * @throws IOException if it cannot be written
   */
  public void writeChart(Path file) throws IOException {
    PlanChart.of(this).write(file);
  }
}
