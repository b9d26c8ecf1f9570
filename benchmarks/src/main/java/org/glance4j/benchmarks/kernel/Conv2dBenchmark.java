package org.glance4j.benchmarks.kernel;

import org.openjdk.jmh.annotations.Param;

/** conv2d. */
public class Conv2dBenchmark extends KernelBenchmark {
  @Param PictureShape shape;

  @Param({"OURS", "UNFUSED"})
  Contender contender;

  @Override
  KernelCase open() {
    return Conv2dCase.open(shape);
  }

  @Override
  Contender contender() {
    return contender;
  }
}
