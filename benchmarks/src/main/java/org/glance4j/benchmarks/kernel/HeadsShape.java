package org.glance4j.benchmarks.kernel;

import static org.glance4j.benchmarks.kernel.KernelCase.Family.BUNDLED;
import static org.glance4j.benchmarks.kernel.KernelCase.Family.LARGE;

/** Attention inputs of the models. */
public enum HeadsShape {
  LARGE_HEADS(LARGE, 1, 1024, 24, 128),
  BUNDLED_IMAGE_HEADS(BUNDLED, 2, 16, 6, 32),
  BUNDLED_JOINT_HEADS(BUNDLED, 2, 48, 6, 32);

  private final KernelCase.Family family;
  private final int batch;
  private final long tokens;
  private final long heads;
  private final long dim;

  HeadsShape(KernelCase.Family family, int batch, long tokens, long heads, long dim) {
    this.family = family;
    this.batch = batch;
    this.tokens = tokens;
    this.heads = heads;
    this.dim = dim;
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

  long heads() {
    return heads;
  }

  long dim() {
    return dim;
  }

  /** Of q, as of k and of v. */
  double elements() {
    return (double) batch * tokens * heads * dim;
  }

  /** As {@link RowsShape#copies}. */
  int copies() {
    return family == KernelCase.Family.LARGE ? 3 : 2;
  }

  /** "1 x 1024 x 24 heads x 128". */
  public String text() {
    return batch + " x " + tokens + " x " + heads + " heads x " + dim;
  }
}
