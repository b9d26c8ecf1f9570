package org.glance4j.plan;

/**
 * Moves a schedule's sigmas and guidances until real runs of it come no closer to the goal.
 *
 * <p>What is minimised is the squared error plus {@code PULL e_0 |cfgs - cfgs_0|^2}, with index 0
 * for the start. Without that part neighbouring steps' guidances, of which one makes good for the
 * other, drift far apart for a gain that other prompts do not have.
 */
final class PlanRefiner {
  private static final double FIRST_DAMPING = 0.01;
  private static final double DAMPING_UP = 4;
  private static final double DAMPING_DOWN = 0.3;
  private static final int TRIALS = 8;
  private static final double PULL = 0.1;

  /** A round that lowers what is minimised by less than this part of it is the last. */
  private static final double LEAST_GAIN = 0.02;

  /** The runs that a refinement asks for. */
  interface Runs {
    /** The squared error of a schedule. */
    double error(String activity, GuidedSigmas schedule);

    /**
     * How it depends on the schedule's numbers.
     *
     * @param withCfgs whether guidances are unknowns too
     */
    PlanFit.Problem problem(String activity, GuidedSigmas schedule, boolean withCfgs);
  }

  /** A schedule and its squared error. */
  record Candidate(GuidedSigmas schedule, double squaredError) {}

  private final Runs runs;
  private final Candidate start;
  private final boolean withCfgs;
  private double damping = FIRST_DAMPING;

  /**
   * A refinement.
   *
   * @param withCfgs whether guidances move too
   */
  PlanRefiner(Runs runs, Candidate start, boolean withCfgs) {
    this.runs = runs;
    this.start = start;
    this.withCfgs = withCfgs;
  }

  /**
   * The best found, never worse than the start.
   *
   * @param rounds how often the runs are linearised, at most; 0 for not at all
   */
  Candidate refine(int rounds) {
    Candidate best = start;
    for (int round = 1; round <= rounds && best.squaredError() > 0; round++) {
      Candidate better = round(best, "refining, round " + round);
      double gain = 1 - cost(better) / cost(best);
      best = better;
      if (gain < LEAST_GAIN) {
        break;
      }
    }
    return best;
  }

  private Candidate round(Candidate from, String activity) {
    GuidedSigmas at = from.schedule();
    PlanFit.Problem problem = pulled(runs.problem(activity, at, withCfgs), at);
    for (int trial = 0; trial < TRIALS; trial++) {
      GuidedSigmas schedule = PlanFit.propose(at, problem, damping);
      // In f32 two sigmas may fall together; a failed factorisation gives NaN.
      if (schedule.isSchedule()) {
        Candidate moved = new Candidate(schedule, runs.error(activity, schedule));
        if (cost(moved) < cost(from)) {
          damping *= DAMPING_DOWN;
          return moved;
        }
      }
      damping *= DAMPING_UP;
    }
    return from;
  }

  private double cost(Candidate candidate) {
    double sum = 0;
    for (int i = 0; i < candidate.schedule().steps(); i++) {
      sum += Math.pow(drift(candidate.schedule(), i), 2);
    }
    return candidate.squaredError() + pull() * sum;
  }

  private double pull() {
    return PULL * start.squaredError();
  }

  private double drift(GuidedSigmas schedule, int step) {
    return (double) schedule.cfgs()[step] - start.schedule().cfgs()[step];
  }

  /** Adds the pull to the unknowns that are guidances. */
  private PlanFit.Problem pulled(PlanFit.Problem problem, GuidedSigmas at) {
    int sigmas = at.steps() - 1;
    double[] gradient = problem.gradient().clone();
    double[][] normal = problem.normal().clone();
    for (int i = sigmas; i < gradient.length; i++) {
      gradient[i] += pull() * drift(at, i - sigmas);
      normal[i] = normal[i].clone();
      normal[i][i] += pull();
    }
    return new PlanFit.Problem(gradient, normal);
  }
}
