package org.glance4j.benchmarks.kernel;

/** Who does the work that is timed. */
public enum Contender {
  /** This library's kernel. */
  OURS,
  /** One plain LibTorch matmul: no adapter, no epilogue. The floor, and not the same work. */
  PLAIN,
  /** The same work as a sequence of LibTorch operations. */
  UNFUSED
}
