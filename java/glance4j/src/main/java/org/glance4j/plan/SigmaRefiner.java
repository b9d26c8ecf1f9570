package org.glance4j.plan;

/** Moves a schedule's sigmas until real runs of it come no closer to the goal. */
final class SigmaRefiner {
  private static final double FIRST_DAMPING = 0.01;
  private static final double DAMPING_UP = 4;
  private static final double DAMPING_DOWN = 0.3;
  private static final int TRIALS = 8;

  /** A round that lowers the squared error by less than this part of it is the last. */
  private static final double LEAST_GAIN = 0.02;

  /** The runs that a refinement asks for. */
  interface Runs {
    /** The squared error of a schedule. */
    double error(String activity, float[] sigmas);

    /** How it depends on the sigmas. */
    SigmaFit.Problem problem(String activity, float[] sigmas);
  }

  /**
   * A schedule and its squared error.
   *
   * @param sigmas decreasing, the last one 0
   */
  @SuppressWarnings("ArrayRecordComponent") // Never compared.
  record Candidate(float[] sigmas, double squaredError) {}

  private final Runs runs;
  private double damping = FIRST_DAMPING;

  SigmaRefiner(Runs runs) {
    this.runs = runs;
  }

  /**
   * The best found, never worse than {@code start}.
   *
   * @param rounds how often the runs are linearised, at most; 0 for not at all
   */
  Candidate refine(Candidate start, int rounds) {
    Candidate best = start;
    for (int round = 1; round <= rounds && best.squaredError() > 0; round++) {
      Candidate better = round(best, "refining, round " + round);
      double gain = 1 - better.squaredError() / best.squaredError();
      best = better;
      if (gain < LEAST_GAIN) {
        break;
      }
    }
    return best;
  }

  private Candidate round(Candidate from, String activity) {
    SigmaFit.Problem problem = runs.problem(activity, from.sigmas());
    for (int trial = 0; trial < TRIALS; trial++) {
      float[] sigmas = SigmaFit.propose(from.sigmas(), problem, damping);
      if (isSchedule(sigmas)) {
        double error = runs.error(activity, sigmas);
        if (error < from.squaredError()) {
          damping *= DAMPING_DOWN;
          return new Candidate(sigmas, error);
        }
      }
      damping *= DAMPING_UP;
    }
    return from;
  }

  /** In f32 two sigmas may fall together; a failed factorisation gives NaN. */
  private static boolean isSchedule(float[] sigmas) {
    for (int i = 1; i < sigmas.length; i++) {
      if (!(sigmas[i] < sigmas[i - 1])) {
        return false;
      }
    }
    return true;
  }
}
