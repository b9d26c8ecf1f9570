package org.glance4j.benchmarks.kernel;

/** Products large enough to show the best rate of the machine. */
public enum MatmulShape {
  WIDE(1024, 3072, 3072),
  CUBE(2048, 2048, 2048),
  DEEP(1024, 4096, 4096);

  private final long rows;
  private final long inFeatures;
  private final long outFeatures;

  MatmulShape(long rows, long inFeatures, long outFeatures) {
    this.rows = rows;
    this.inFeatures = inFeatures;
    this.outFeatures = outFeatures;
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

  /** "1024 x 3072 -> 3072". */
  public String text() {
    return rows + " x " + inFeatures + " -> " + outFeatures;
  }
}
