package org.glance4j.benchmarks.kernel;

/** The machine's copy bandwidth: 512 MiB read and written in one call. */
public class CopyBenchmark extends KernelBenchmark {
  @Override
  KernelCase open() {
    return CeilingCase.copy();
  }

  @Override
  Contender contender() {
    return Contender.PLAIN;
  }
}
