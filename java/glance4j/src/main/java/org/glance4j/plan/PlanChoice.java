package org.glance4j.plan;

import java.util.ArrayList;
import java.util.List;
import org.glance4j.model.ImageModel;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.PhaseSigma;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.ScheduleSpec;
import org.glance4j.schedule.Step;

/** Makes the choices of a {@link SchedulePlanner}. For one thread, once. */
final class PlanChoice {
  private final ImageModel model;
  private final PlanInputs inputs;
  private final PlanningRuns runs;

  PlanChoice(ImageModel model, PlanInputs inputs, PlanningRuns runs) {
    this.model = model;
    this.inputs = inputs;
    this.runs = runs;
  }

  SchedulePlan choose(int steps, int rounds) {
    float[] nodes = sigmas(ScheduleSpec.base(SchedulePlanner.MAX_STEPS));
    PlanningRuns.Fine fine = runs.walkFine(nodes);
    SigmaRefiner.Candidate best = measured(kept(nodes, fine.jumpErrors(), steps));
    List<SchedulePlan.ScheduleError> others = new ArrayList<>();
    for (ScheduleSpec spec : published(steps)) {
      SigmaRefiner.Candidate other = measured(sigmas(spec));
      others.add(new SchedulePlan.ScheduleError(spec.toString(), Math.sqrt(other.squaredError())));
      if (other.squaredError() < best.squaredError()) {
        best = other;
      }
    }
    return plan(new SigmaRefiner(runs).refine(best, rounds), fine.curvature(), others);
  }

  private SigmaRefiner.Candidate measured(float[] sigmas) {
    return new SigmaRefiner.Candidate(sigmas, runs.error("comparing schedules", sigmas));
  }

  private static float[] kept(float[] nodes, double[][] jumpErrors, int steps) {
    int[] kept = KeptNodes.choose(jumpErrors, steps);
    float[] sigmas = new float[kept.length];
    for (int i = 0; i < kept.length; i++) {
      sigmas[i] = nodes[kept[i]];
    }
    return sigmas;
  }

  /** The uniform schedule and the preset of Glance that has as many steps. */
  private static List<ScheduleSpec> published(int steps) {
    ScheduleSpec uniform = ScheduleSpec.base(steps);
    return switch (steps) {
      case 8 -> List.of(uniform, ScheduleSpec.glance(3, 5));
      case 10 -> List.of(uniform, ScheduleSpec.glance());
      case 15 -> List.of(uniform, ScheduleSpec.glance(5, 10));
      default -> List.of(uniform);
    };
  }

  private float[] sigmas(ScheduleSpec spec) {
    Schedule schedule = spec.resolve(model.sigmaShift(), model.imageTokens(inputs.size()));
    float[] sigmas = new float[schedule.size() + 1];
    for (int i = 0; i < schedule.size(); i++) {
      Step step = schedule.steps().get(i);
      sigmas[i] = step.sigma();
      sigmas[i + 1] = step.nextSigma();
    }
    return sigmas;
  }

  private SchedulePlan plan(
      SigmaRefiner.Candidate best, Curvature curvature, List<SchedulePlan.ScheduleError> others) {
    float[] sigmas = best.sigmas();
    PhaseSplit split = PhaseSplit.of(curvature);
    int slowSteps = split.slowSteps(sigmas);
    List<PhaseSigma> steps = new ArrayList<>();
    for (int i = 0; i + 1 < sigmas.length; i++) {
      steps.add(new PhaseSigma(i < slowSteps ? Phase.SLOW : Phase.FAST, sigmas[i]));
    }
    return new SchedulePlan(
        inputs, steps, split, curvature, Math.sqrt(best.squaredError()), others);
  }
}
