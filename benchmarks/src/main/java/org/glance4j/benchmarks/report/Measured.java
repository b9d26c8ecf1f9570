package org.glance4j.benchmarks.report;

import java.util.EnumMap;
import java.util.Map;
import java.util.function.IntConsumer;
import org.glance4j.benchmarks.kernel.Contender;
import org.glance4j.benchmarks.kernel.Cost;
import org.glance4j.benchmarks.kernel.KernelCase;

/**
 * What came of one case.
 *
 * @param seconds of a call, one value for each round
 */
public record Measured(KernelCase.Name name, Cost cost, Map<Contender, double[]> seconds) {

  /** Measures {@code kernelCase}. */
  public static Measured of(KernelCase kernelCase, Alternating alternating) {
    Map<Contender, IntConsumer> calls = new EnumMap<>(Contender.class);
    for (Contender contender : kernelCase.contenders()) {
      calls.put(contender, turn -> kernelCase.run(contender, turn));
    }
    return new Measured(kernelCase.name(), kernelCase.cost(), alternating.measure(calls));
  }

  public boolean has(Contender contender) {
    return seconds.containsKey(contender);
  }

  /** Median seconds of a call. */
  public double median(Contender contender) {
    return Spread.of(values(contender)).median();
  }

  /** The time of {@code numerator} over that of {@code denominator}. */
  public Spread ratio(Contender numerator, Contender denominator) {
    return Spread.ratio(values(numerator), values(denominator));
  }

  /** Operations or bytes a second, by what limits the case. */
  public double rate(Contender contender) {
    double work = cost.bound() == Cost.Bound.MATMUL ? cost.flops() : cost.bytes();
    return work / median(contender);
  }

  private double[] values(Contender contender) {
    double[] values = seconds.get(contender);
    if (values == null) {
      throw new IllegalArgumentException(name + " was not measured for " + contender);
    }
    return values;
  }
}
