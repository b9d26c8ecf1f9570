package org.glance4j.benchmarks.kernel;

import org.glance4j.DType;
import org.openjdk.jmh.annotations.Param;

/** lora_linear. */
public class LoraLinearBenchmark extends KernelBenchmark {
  @Param LoraShape shape;

  @Param DType dtype;

  @Param Contender contender;

  @Param({"16", "32"})
  int rank;

  @Param({"1"})
  int batch;

  @Override
  KernelCase open() {
    return LoraLinearCase.open(shape, batch, rank, dtype);
  }

  @Override
  Contender contender() {
    return contender;
  }
}
