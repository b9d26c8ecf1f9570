package org.glance4j.benchmarks.kernel;

import org.glance4j.DType;
import org.openjdk.jmh.annotations.Param;

/** modulated_norm. */
public class ModulatedNormBenchmark extends KernelBenchmark {
  @Param RowsShape shape;

  @Param DType dtype;

  @Param({"OURS", "UNFUSED"})
  Contender contender;

  @Override
  KernelCase open() {
    return ModulatedNormCase.open(shape, dtype);
  }

  @Override
  Contender contender() {
    return contender;
  }
}
