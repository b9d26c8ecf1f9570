package org.glance4j.benchmarks.kernel;

import org.glance4j.DType;
import org.openjdk.jmh.annotations.Param;

/** flow_step. */
public class FlowStepBenchmark extends KernelBenchmark {
  @Param FlowShape shape;

  @Param DType dtype;

  @Param({"OURS", "UNFUSED"})
  Contender contender;

  @Override
  KernelCase open() {
    return FlowStepCase.open(shape, dtype);
  }

  @Override
  Contender contender() {
    return contender;
  }
}
