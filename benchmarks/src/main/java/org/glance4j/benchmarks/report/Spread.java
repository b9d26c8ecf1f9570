package org.glance4j.benchmarks.report;

import java.util.Arrays;

/**
 * Where the middle half of some values lies.
 *
 * @param lower first quartile
 * @param upper third quartile
 */
public record Spread(double lower, double median, double upper) {

  /** The quartiles of {@code values}, with linear interpolation between neighbours. */
  public static Spread of(double[] values) {
    if (values.length == 0) {
      throw new IllegalArgumentException("no values");
    }
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return new Spread(at(sorted, 0.25), at(sorted, 0.5), at(sorted, 0.75));
  }

  /**
   * How many times {@code numerator} is {@code denominator}: the ratio of the medians, and the
   * quartiles of the ratios of values of one round.
   */
  public static Spread ratio(double[] numerator, double[] denominator) {
    if (numerator.length != denominator.length) {
      throw new IllegalArgumentException("rounds differ");
    }
    double[] rounds = new double[numerator.length];
    for (int i = 0; i < rounds.length; i++) {
      rounds[i] = numerator[i] / denominator[i];
    }
    Spread each = of(rounds);
    return new Spread(each.lower, of(numerator).median / of(denominator).median, each.upper);
  }

  private static double at(double[] sorted, double fraction) {
    double position = fraction * (sorted.length - 1);
    int below = (int) position;
    int above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
  }
}
