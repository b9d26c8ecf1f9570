package org.glance4j.plan;

/**
 * Where the slow phase ends: the change point of the least-squares fit of two constants to the
 * curvature of the steps, in order.
 *
 * @param slowSteps how many steps come before the change, at least 1 and less than all
 * @param slowMean the mean of their curvature
 * @param fastMean the mean of the others'
 */
record PhaseSplit(int slowSteps, double slowMean, double fastMean) {
  /**
   * The best split; of equally good ones the earliest.
   *
   * @param curvature of each step, at least 2 of them
   */
  static PhaseSplit of(double[] curvature) {
    if (curvature.length < 2) {
      throw new IllegalArgumentException(
          curvature.length + " step cannot be split into two phases; use at least 2");
    }
    PhaseSplit best = at(1, curvature);
    for (int slow = 2; slow < curvature.length; slow++) {
      PhaseSplit split = at(slow, curvature);
      if (split.squaredDistance(curvature) < best.squaredDistance(curvature)) {
        best = split;
      }
    }
    return best;
  }

  private static PhaseSplit at(int slowSteps, double[] curvature) {
    return new PhaseSplit(
        slowSteps, mean(curvature, 0, slowSteps), mean(curvature, slowSteps, curvature.length));
  }

  private double squaredDistance(double[] curvature) {
    double sum = 0;
    for (int i = 0; i < curvature.length; i++) {
      double distance = curvature[i] - (i < slowSteps ? slowMean : fastMean);
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
