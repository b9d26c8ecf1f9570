package org.glance4j.plan;

/**
 * Where the slow phase ends: the change point of the least-squares fit of two constants to the
 * {@link Curvature}. Every interval of the base schedule counts alike, as the steps it would be.
 *
 * <p>The slow phase is the early, strongly curved part. So where the curvature rises again towards
 * sigma 0, as it may, only change points at which it falls are considered; all of them where it
 * falls at none.
 *
 * @param sigma at which the fast phase begins, if a step begins there
 * @param slowMean the mean curvature above sigma
 * @param fastMean the mean curvature below
 */
public record PhaseSplit(double sigma, double slowMean, double fastMean) {
  /** The best split; of equally good ones the earliest. */
  static PhaseSplit of(Curvature curvature) {
    double[] values = curvature.values().stream().mapToDouble(Double::doubleValue).toArray();
    if (values.length < 2) {
      throw new IllegalArgumentException("curvature of 1 interval has no change; give at least 2");
    }
    int best = 1;
    for (int change = 2; change < values.length; change++) {
      boolean falls = fall(values, change) > 0;
      boolean bestFalls = fall(values, best) > 0;
      boolean closer = squaredDistance(values, change) < squaredDistance(values, best);
      if (falls == bestFalls ? closer : falls) {
        best = change;
      }
    }
    return new PhaseSplit(
        curvature.nodes().get(best), mean(values, 0, best), mean(values, best, values.length));
  }

  /** How many of a schedule's steps are slow: those above sigma, but at least one of each phase. */
  int slowSteps(float[] sigmas) {
    int steps = sigmas.length - 1;
    int above = 0;
    while (above < steps && sigmas[above] > sigma) {
      above++;
    }
    return Math.max(1, Math.min(steps - 1, above));
  }

  private static double fall(double[] values, int change) {
    return mean(values, 0, change) - mean(values, change, values.length);
  }

  private static double squaredDistance(double[] values, int change) {
    double before = mean(values, 0, change);
    double after = mean(values, change, values.length);
    double sum = 0;
    for (int i = 0; i < values.length; i++) {
      double distance = values[i] - (i < change ? before : after);
      sum += distance * distance;
    }
    return sum;
  }

  private static double mean(double[] values, int from, int to) {
    double sum = 0;
    for (int i = from; i < to; i++) {
      sum += values[i];
    }
    return sum / (to - from);
  }
}
