package org.glance4j;

import java.math.BigDecimal;
import java.math.MathContext;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToDoubleFunction;
import java.util.stream.DoubleStream;
import org.glance4j.LineChart.Axis;
import org.glance4j.LineChart.Point;
import org.glance4j.LineChart.Scale;
import org.glance4j.LineChart.Series;

/**
 * An axis that knows its range.
 *
 * @param low the value at its start
 * @param high the value at its end, above {@code low}
 */
record ChartAxis(Axis axis, double low, double high) {
  /** Room at both ends, as a part of the range. */
  private static final double PADDING = 0.05;

  private static final int TICKS = 7;

  /** The axis for one coordinate of all points. */
  static ChartAxis around(Axis axis, List<Series> series, ToDoubleFunction<Point> coordinate) {
    double[] values =
        series.stream()
            .flatMap(one -> one.points().stream())
            .filter(point -> !Double.isNaN(point.y()))
            .mapToDouble(coordinate)
            .toArray();
    double least = DoubleStream.of(values).min().orElseThrow();
    double most = DoubleStream.of(values).max().orElseThrow();
    if (axis.scale() != Scale.LINEAR) {
      double factor = least == most ? 1.5 : Math.pow(most / least, PADDING);
      return new ChartAxis(axis, least / factor, most * factor);
    }
    double room = least == most ? Math.max(1, Math.abs(least) / 2) : PADDING * (most - least);
    // Padding alone never shows values of a sign that no point has.
    double low = least >= 0 ? Math.max(0, least - room) : least - room;
    return new ChartAxis(axis, low, most + room);
  }

  /** Where {@code value} lies: 0 at the start, 1 at the end. */
  double place(double value) {
    return axis.scale() == Scale.LINEAR
        ? (value - low) / (high - low)
        : Math.log(value / low) / Math.log(high / low);
  }

  /** The values that have a grid line, ascending. */
  List<Double> ticks() {
    List<Double> ticks =
        switch (axis.scale()) {
          case LINEAR -> linearTicks();
          case LOG2 -> powers(2, new int[] {1});
          case LOG10 -> powers(10, high / low > 1000 ? new int[] {1} : new int[] {1, 2, 5});
        };
    // A logarithmic axis may lie between two powers.
    return ticks.size() < 2 ? linearTicks() : ticks;
  }

  private List<Double> linearTicks() {
    double step = step((high - low) / TICKS);
    List<Double> ticks = new ArrayList<>();
    for (long i = (long) Math.ceil(low / step - 1e-9); i * step <= high; i++) {
      ticks.add(i * step);
    }
    return ticks;
  }

  /** The least of 1, 2 and 5 times powers of ten that is not below {@code rough}. */
  private static double step(double rough) {
    double power = Math.pow(10, Math.floor(Math.log10(rough)));
    for (int factor : new int[] {1, 2, 5}) {
      if (factor * power >= rough) {
        return factor * power;
      }
    }
    return 10 * power;
  }

  private List<Double> powers(int base, int[] factors) {
    List<Double> ticks = new ArrayList<>();
    int first = (int) Math.floor(Math.log(low) / Math.log(base));
    int last = (int) Math.ceil(Math.log(high) / Math.log(base));
    for (int exponent = first; exponent <= last; exponent++) {
      for (int factor : factors) {
        double value = factor * Math.pow(base, exponent);
        if (value >= low && value <= high) {
          ticks.add(value);
        }
      }
    }
    return ticks;
  }

  /** A tick's value as text, without the digits that only rounding put there. */
  static String text(double value) {
    BigDecimal rounded = new BigDecimal(value).round(new MathContext(6)).stripTrailingZeros();
    boolean plain = value == 0 || (Math.abs(value) >= 1e-4 && Math.abs(value) < 1e6);
    return plain ? rounded.toPlainString() : rounded.toString();
  }
}
