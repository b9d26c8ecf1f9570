package org.glance4j.benchmarks.kernel;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.DType;

/** Comparison of results before anything is timed. */
final class Checks {
  private static final double F32_TOLERANCE = 1e-5;
  private static final double BF16_TOLERANCE = 1e-2;

  /**
   * Float64 costs too much for all rows of a large matrix, and rows do not depend on each other.
   */
  private static final long CHECKED_ROWS = 16;

  private Checks() {}

  /** The error allowed to one operation. */
  static double tolerance(DType dtype) {
    return dtype == DType.F32 ? F32_TOLERANCE : BF16_TOLERANCE;
  }

  /** Row numbers spread over {@code rows} rows, both ends among them: an int64 tensor. */
  static Tensor someRows(long rows) {
    long count = Math.min(rows, CHECKED_ROWS);
    long[] chosen = new long[Math.toIntExact(count)];
    for (int i = 0; i < count; i++) {
      chosen[i] = count == 1 ? 0 : i * (rows - 1) / (count - 1);
    }
    return Place.backend().place(torch.tensor(chosen));
  }

  /** {@code ||actual - expected|| / ||expected||}, in float64. */
  static double error(Tensor actual, Tensor expected) {
    try (PointerScope scope = new PointerScope()) {
      Tensor exact = expected.to(ScalarType.Double);
      double difference = actual.to(ScalarType.Double).sub(exact).norm().item_double();
      return difference / exact.norm().item_double();
    }
  }

  /**
   * Fails if {@code actual} is further from {@code expected} than the type allows.
   *
   * @param what whose result it is
   */
  static void close(KernelCase.Name name, String what, Tensor actual, Tensor expected, long seed) {
    close(name, what, actual, expected, tolerance(name.dtype()), seed);
  }

  /** As above, with a tolerance of its own. */
  static void close(
      KernelCase.Name name,
      String what,
      Tensor actual,
      Tensor expected,
      double tolerance,
      long seed) {
    double error = error(actual, expected);
    // Not error > tolerance: NaN must fail.
    if (!(error <= tolerance)) {
      throw new IllegalStateException(
          "%s: %s is wrong: relative error %.3g, allowed %.3g (seed %d)"
              .formatted(name, what, error, tolerance, seed));
    }
  }
}
