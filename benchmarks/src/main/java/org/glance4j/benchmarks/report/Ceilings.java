package org.glance4j.benchmarks.report;

import java.util.Comparator;
import java.util.List;
import org.glance4j.DType;
import org.glance4j.benchmarks.kernel.CeilingCase;
import org.glance4j.benchmarks.kernel.Contender;
import org.glance4j.benchmarks.kernel.Cost;

/** The machine's best, measured: what rates are held against. */
public final class Ceilings {
  private final List<Measured> cases;

  /**
   * Reads them off the ceiling cases.
   *
   * @param cases of {@link CeilingCase}
   */
  public Ceilings(List<Measured> cases) {
    this.cases = List.copyOf(cases);
  }

  /** All of them. */
  public List<Measured> cases() {
    return cases;
  }

  /** Bytes a second, read and written. */
  public double copy() {
    return cases.stream()
        .filter(one -> one.name().operation().equals(CeilingCase.COPY))
        .mapToDouble(one -> one.rate(Contender.PLAIN))
        .max()
        .orElse(Double.NaN);
  }

  /** The best product of {@code contender}, in operations a second. */
  public double matmul(DType dtype, Contender contender) {
    return cases.stream()
        .filter(one -> one.name().operation().equals(CeilingCase.MATMUL))
        .filter(one -> one.name().dtype() == dtype)
        .map(one -> one.rate(contender))
        .max(Comparator.naturalOrder())
        .orElse(Double.NaN);
  }

  /** How much of its ceiling our kernel reaches: 1 is all of it. */
  public double share(Measured measured) {
    double best =
        measured.cost().bound() == Cost.Bound.MEMORY
            ? copy()
            : Math.max(
                matmul(measured.name().dtype(), Contender.OURS),
                matmul(measured.name().dtype(), Contender.PLAIN));
    return measured.rate(Contender.OURS) / best;
  }
}
