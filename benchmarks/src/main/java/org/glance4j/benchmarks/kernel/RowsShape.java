package org.glance4j.benchmarks.kernel;

import static org.glance4j.benchmarks.kernel.KernelCase.Family.BUNDLED;
import static org.glance4j.benchmarks.kernel.KernelCase.Family.LARGE;

/** Hidden states: the models' tokens of their widths. */
public enum RowsShape {
  LARGE_TOKENS(LARGE, 1, 1024, 3072),
  BUNDLED_IMAGE(BUNDLED, 2, 16, 192),
  BUNDLED_JOINT(BUNDLED, 2, 48, 192);

  private final KernelCase.Family family;
  private final int batch;
  private final long tokens;
  private final long width;

  RowsShape(KernelCase.Family family, int batch, long tokens, long width) {
    this.family = family;
    this.batch = batch;
    this.tokens = tokens;
    this.width = width;
  }

  KernelCase.Family family() {
    return family;
  }

  int batch() {
    return batch;
  }

  long tokens() {
    return tokens;
  }

  long width() {
    return width;
  }

  double elements() {
    return (double) batch * tokens * width;
  }

  /** How many copies take turns: past every cache for large models, in the inner ones for small. */
  int copies() {
    return family == KernelCase.Family.LARGE ? 6 : 2;
  }

  /** "2 x 16 x 192". */
  public String text() {
    return batch + " x " + tokens + " x " + width;
  }
}
