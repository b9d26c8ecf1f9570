package org.glance4j.benchmarks;

import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import org.glance4j.DType;
import org.glance4j.GeneratedImage;
import org.glance4j.Generation;
import org.glance4j.Glance;
import org.glance4j.GlanceOptions;
import org.glance4j.ImageRequest;
import org.glance4j.kernel.Backend;
import org.glance4j.schedule.ScheduleSpec;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** Whole generations on the bundled model: prompt to pixels, text encoding included. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Fork(1)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 3)
public class GenerateBenchmark {
  @Param({"10", "50"})
  int steps;

  @Param({"1.0", "3.5"})
  double cfg;

  @Param({"2"})
  int threads;

  @Param({"F32"})
  DType dtype;

  @Param({"AUTO"})
  Backend backend;

  private final Prompts prompts = new Prompts();
  private Glance glance;

  @Setup(Level.Trial)
  public void load() {
    glance =
        Glance.loadBundled(
            GlanceOptions.builder().threads(threads).dtype(dtype).backend(backend).build());
    checkItself();
  }

  @TearDown(Level.Trial)
  public void close() {
    glance.close();
  }

  @Benchmark
  public Generation generate() {
    return glance.generate(request(prompts.next()));
  }

  private ImageRequest request(String prompt) {
    return ImageRequest.builder(prompt).cfg(cfg).schedule(ScheduleSpec.base(steps)).build();
  }

  /** Two different prompts give two pictures, the same prompt the same one. */
  private void checkItself() {
    GeneratedImage first = glance.generate(request("red apple")).image();
    GeneratedImage again = glance.generate(request("red apple")).image();
    GeneratedImage other = glance.generate(request("panda")).image();
    if (!Arrays.equals(first.rgb(), again.rgb()) || Arrays.equals(first.rgb(), other.rgb())) {
      throw new IllegalStateException("generate is not deterministic, or ignores its prompt");
    }
  }
}
