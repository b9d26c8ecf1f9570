package org.glance4j.benchmarks.kernel;

import java.util.concurrent.TimeUnit;
import org.glance4j.kernel.NativeRuntime;
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

/**
 * A {@link KernelCase} under JMH, one contender a trial. Trials do not alternate: for a ratio use
 * {@link org.glance4j.benchmarks.KernelReport}. On a CUDA device a call includes the wait for it.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public abstract class KernelBenchmark {
  @Param({"2"})
  int threads;

  private KernelCase kernelCase;
  private int turn;

  abstract KernelCase open();

  abstract Contender contender();

  @Setup(Level.Trial)
  public void load() {
    NativeRuntime.setThreads(threads);
    kernelCase = open();
  }

  @TearDown(Level.Trial)
  public void close() {
    kernelCase.close();
  }

  @Benchmark
  public void run() {
    kernelCase.run(contender(), turn);
    Place.backend().synchronize();
    turn = (turn + 1) & Integer.MAX_VALUE;
  }
}
