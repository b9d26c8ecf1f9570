package org.glance4j.benchmarks.kernel;

import org.openjdk.jmh.annotations.Param;

/** flow_step. */
public class FlowStepBenchmark extends KernelBenchmark {
  @Param FlowShape shape;

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
