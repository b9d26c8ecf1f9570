package org.glance4j.benchmarks.kernel;

/**
 * What one call has to do at the least.
 *
 * @param flops additions and multiplications
 * @param bytes read and written, each tensor once
 * @param bound what limits the call on any machine of today at a large size
 */
public record Cost(double flops, double bytes, Bound bound) {
  /** The limit a call is held against. */
  public enum Bound {
    /** The best matrix product of the machine. */
    MATMUL,
    /** The machine's copy bandwidth. */
    MEMORY
  }

  static Cost matmul(double flops, double bytes) {
    return new Cost(flops, bytes, Bound.MATMUL);
  }

  static Cost memory(double bytes) {
    return new Cost(0, bytes, Bound.MEMORY);
  }
}
