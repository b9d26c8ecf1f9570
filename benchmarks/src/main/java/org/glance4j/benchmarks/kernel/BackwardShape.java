package org.glance4j.benchmarks.kernel;

import static org.glance4j.benchmarks.kernel.KernelCase.Family.BUNDLED;
import static org.glance4j.benchmarks.kernel.KernelCase.Family.LARGE;

/** Linears that training goes back through. */
public enum BackwardShape {
  LARGE_LINEAR(LARGE, 1024, 3072, 3072),
  BUNDLED_LINEAR(BUNDLED, 48, 192, 192),
  BUNDLED_MLP_DOWN(BUNDLED, 48, 768, 192);

  private final KernelCase.Family family;
  private final long rows;
  private final long inFeatures;
  private final long outFeatures;

  BackwardShape(KernelCase.Family family, long rows, long inFeatures, long outFeatures) {
    this.family = family;
    this.rows = rows;
    this.inFeatures = inFeatures;
    this.outFeatures = outFeatures;
  }

  KernelCase.Family family() {
    return family;
  }

  long rows() {
    return rows;
  }

  long inFeatures() {
    return inFeatures;
  }

  long outFeatures() {
    return outFeatures;
  }

  /** As {@link RowsShape#copies}. */
  int copies() {
    return family == KernelCase.Family.LARGE ? 2 : 16;
  }

  /** "48 x 192 -> 192". */
  public String text() {
    return rows + " x " + inFeatures + " -> " + outFeatures;
  }
}
