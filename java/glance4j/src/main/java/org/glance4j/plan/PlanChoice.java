package org.glance4j.plan;

import java.util.ArrayList;
import java.util.List;
import org.glance4j.model.ImageModel;
import org.glance4j.plan.PlanRefiner.Candidate;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.PhaseSigma;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.ScheduleSpec;
import org.glance4j.schedule.Step;

/** Makes the choices of a {@link SchedulePlanner}. For one thread, once. */
final class PlanChoice {
  /** Own guidances are taken if they leave less than this part of the squared error. */
  static final double WORTH_ITS_CFGS = 0.85;

  /**
   * The squared error may grow by this for evaluations that are saved: it would grow more with a
   * twentieth of the steps less, as the error falls with the square of their number or faster.
   */
  private static final double WORTH_EVALUATIONS = 1.15;

  private final ImageModel model;
  private final PlanInputs inputs;
  private final PlanningRuns runs;

  PlanChoice(ImageModel model, PlanInputs inputs, PlanningRuns runs) {
    this.model = model;
    this.inputs = inputs;
    this.runs = runs;
  }

  /**
   * Sigmas as they did.
   *
   * @param plain with the one guidance asked for
   * @param fitted with a guidance for each step; plain where steps may not have their own
   */
  private record Tried(Candidate plain, Candidate fitted) {
    SchedulePlan.ScheduleError named(String name) {
      return new SchedulePlan.ScheduleError(
          name, Math.sqrt(plain.squaredError()), Math.sqrt(fitted.squaredError()));
    }

    /** The best of each kind. */
    Tried orBetter(Tried other) {
      return new Tried(better(plain, other.plain), better(fitted, other.fitted));
    }

    private static Candidate better(Candidate first, Candidate second) {
      return second.squaredError() < first.squaredError() ? second : first;
    }
  }

  SchedulePlan choose(int steps, int rounds) {
    float[] nodes = sigmas(ScheduleSpec.base(SchedulePlanner.MAX_STEPS));
    PlanningRuns.Fine fine = runs.walkFine(plain(nodes));
    Tried best = tried(kept(nodes, fine.jumpErrors(), steps));
    List<SchedulePlan.ScheduleError> others = new ArrayList<>();
    for (ScheduleSpec spec : published(steps)) {
      Tried other = tried(sigmas(spec));
      others.add(other.named(spec.toString()));
      best = best.orBetter(other);
    }
    return plan(refined(best, rounds), fine.curvature(), others);
  }

  private Tried tried(float[] sigmas) {
    Candidate plain = measured(plain(sigmas));
    return new Tried(
        plain,
        inputs.ownCfg() ? measured(runs.fitted("fitting guidances", plain.schedule())) : plain);
  }

  private Tried refined(Tried best, int rounds) {
    Candidate plain = new PlanRefiner(runs, best.plain(), false).refine(rounds);
    return new Tried(
        plain, inputs.ownCfg() ? new PlanRefiner(runs, best.fitted(), true).refine(rounds) : plain);
  }

  private Candidate measured(GuidedSigmas schedule) {
    return new Candidate(schedule, runs.error("comparing schedules", schedule));
  }

  private GuidedSigmas plain(float[] sigmas) {
    return GuidedSigmas.with((float) inputs.cfg(), sigmas);
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

  @SuppressWarnings("ReferenceEquality") // The same candidate, if nothing was left out.
  private SchedulePlan plan(
      Tried best, Curvature curvature, List<SchedulePlan.ScheduleError> others) {
    boolean own = best.fitted().squaredError() < WORTH_ITS_CFGS * best.plain().squaredError();
    Candidate chosen = own ? best.fitted() : best.plain();
    Candidate taken = inputs.ownCfg() ? startingUnguided(chosen) : chosen;
    Tried shown = own || taken != chosen ? new Tried(best.plain(), taken) : best;
    GuidedSigmas schedule = taken.schedule();
    PhaseSplit split = PhaseSplit.of(curvature);
    int slowSteps = split.slowSteps(schedule.sigmas());
    List<PhaseSigma> steps = new ArrayList<>();
    for (int i = 0; i < schedule.steps(); i++) {
      Phase phase = i < slowSteps ? Phase.SLOW : Phase.FAST;
      Float cfg = inputs.ownCfg() ? Float.valueOf(schedule.cfgs()[i]) : null;
      steps.add(new PhaseSigma(phase, schedule.sigmas()[i], cfg));
    }
    return new SchedulePlan(inputs, steps, split, curvature, shown.named("planned"), others);
  }

  /**
   * Leaves out the guidance of the first steps as long as what they lead to comes about as close:
   * each then costs one evaluation in place of two. While there is little but noise, both prompts
   * predict nearly the same (arXiv 2404.07724 finds that guidance even hurts there).
   */
  private Candidate startingUnguided(Candidate chosen) {
    Candidate best = chosen;
    for (int i = 0; i < chosen.schedule().steps(); i++) {
      float[] cfgs = best.schedule().cfgs().clone();
      if (cfgs[i] == 1) {
        continue;
      }
      cfgs[i] = 1;
      Candidate without = measured(new GuidedSigmas(best.schedule().sigmas(), cfgs));
      if (without.squaredError() > WORTH_EVALUATIONS * chosen.squaredError()) {
        break;
      }
      best = without;
    }
    return best;
  }
}
