package org.glance4j.benchmarks.kernel;

import org.glance4j.DType;
import org.openjdk.jmh.annotations.Param;

/** lora_linear_backward. */
public class LoraLinearBackwardBenchmark extends KernelBenchmark {
  @Param BackwardShape shape;

  @Param DType dtype;

  @Param Contender contender;

  @Param({"16", "32"})
  int rank;

  @Override
  KernelCase open() {
    return LoraBackwardCase.open(shape, rank, dtype);
  }

  @Override
  Contender contender() {
    return contender;
  }
}
