package org.glance4j.benchmarks.kernel;

import org.glance4j.DType;
import org.openjdk.jmh.annotations.Param;

/** gated_residual. */
public class GatedResidualBenchmark extends KernelBenchmark {
  @Param RowsShape shape;

  @Param DType dtype;

  @Param({"OURS", "UNFUSED"})
  Contender contender;

  @Override
  KernelCase open() {
    return GatedSumCase.open(shape, dtype);
  }

  @Override
  Contender contender() {
    return contender;
  }
}
