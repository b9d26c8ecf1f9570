package org.glance4j.benchmarks.kernel;

import org.glance4j.DType;
import org.openjdk.jmh.annotations.Param;

/** The best matrix products of the machine. */
public class MatmulBenchmark extends KernelBenchmark {
  @Param MatmulShape shape;

  @Param DType dtype;

  @Param({"OURS", "PLAIN"})
  Contender contender;

  @Override
  KernelCase open() {
    return CeilingCase.matmul(shape, dtype);
  }

  @Override
  Contender contender() {
    return contender;
  }
}
