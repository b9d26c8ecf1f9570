package org.glance4j.benchmarks.kernel;

import org.glance4j.DType;
import org.openjdk.jmh.annotations.Param;

/** attention. */
public class AttentionBenchmark extends KernelBenchmark {
  @Param HeadsShape shape;

  @Param DType dtype;

  @Param({"OURS", "UNFUSED"})
  Contender contender;

  @Override
  KernelCase open() {
    return AttentionCase.open(shape, dtype);
  }

  @Override
  Contender contender() {
    return contender;
  }
}
