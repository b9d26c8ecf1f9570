package org.glance4j.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.glance4j.AtomicFile;
import org.glance4j.evaluate.Prompts;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.plan.SchedulePlan;
import org.glance4j.plan.SchedulePlanner;
import org.glance4j.schedule.PhaseSigma;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code glance plan}: from a model to the schedule of few steps that suits it. */
@Command(
    name = "plan",
    description = "Chooses the sigmas and the phases of a schedule of few steps for a model.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class PlanCommand implements Callable<Integer> {
  @Mixin RunOptions run = new RunOptions();

  @Option(names = "--steps", paramLabel = "N", description = "2 to 50. Default: 10.")
  int steps = 10;

  @Option(
      names = "--cfg",
      paramLabel = "X",
      description = "Classifier-free guidance to plan for. Default: 1 (off).")
  double cfg = 1;

  @Option(
      names = "--guidance",
      paramLabel = "X",
      description = "Distilled guidance, for models that take it (FLUX.1-dev). Default: 3.5.")
  double guidance = 3.5;

  @Option(
      names = "--prompts",
      paramLabel = "FILE",
      description = {
        "Prompts to plan on, one a line; others than the plan is to be judged on.",
        "Default: eight everyday things."
      })
  @Nullable Path prompts;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Seed of the first prompt's noise; prompt I uses N + I. Default: 0.")
  long seed;

  @Option(names = "--width", paramLabel = "W", description = "In pixels. Default: the model's.")
  @Nullable Integer width;

  @Option(names = "--height", paramLabel = "H", description = "In pixels. Default: the model's.")
  @Nullable Integer height;

  @Option(
      names = "--rounds",
      paramLabel = "N",
      description = "Rounds of refinement at most; 0 for none, which is faster. Default: 6.")
  int rounds = 6;

  @Option(
      names = "--plain-cfg",
      description = "Keep the guidance of --cfg for all steps. Default: each step gets its own.")
  boolean plainCfg;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "FILE.txt",
      required = true,
      description = "The schedule, for --schedule custom:FILE.txt.")
  Path output = Path.of("");

  @Option(
      names = "--plot",
      paramLabel = "FILE.png",
      description = "Also draw the curvature over sigma with the kept sigmas.")
  @Nullable Path plot;

  @Spec CommandSpec spec = CommandSpec.create();

  @Override
  public Integer call() throws IOException {
    AtomicFile.requireWritable(output);
    if (plot != null) {
      if (plot.toAbsolutePath().normalize().equals(output.toAbsolutePath().normalize())) {
        throw new IllegalArgumentException("--output and --plot are the same file: " + output);
      }
      AtomicFile.requireWritable(plot);
    }
    if (run.threads < 0) {
      throw new IllegalArgumentException(
          "threads " + run.threads + " must be 0 (automatic) or more");
    }
    AtomicBoolean stop = new AtomicBoolean();
    try (PlanProgress progress = PlanProgress.start()) {
      SchedulePlanner planner = planner(progress, stop);
      if (run.threads > 0) {
        NativeRuntime.setThreads(run.threads);
      }
      SchedulePlan plan = plan(planner, stop);
      progress.close();
      plan.write(output);
      if (plot != null) {
        plan.writeChart(plot);
      }
      print(plan);
    }
    return 0;
  }

  private SchedulePlanner planner(PlanProgress progress, AtomicBoolean stop) {
    SchedulePlanner.Builder builder = SchedulePlanner.builder(run.folder());
    if (prompts != null) {
      builder.prompts(Prompts.read(prompts));
    }
    return builder
        .steps(steps)
        .cfg(cfg)
        .guidance(guidance)
        .seed(seed)
        .width(width)
        .height(height)
        .rounds(rounds)
        .plainCfg(plainCfg)
        .dtype(run.dtype)
        .backend(run.backend)
        .keepResident(run.keepResident)
        .listener(progress)
        .cancelWhen(stop::get)
        .build();
  }

  /** Plans; where the process is asked to stop, native code ends first. */
  private static SchedulePlan plan(SchedulePlanner planner, AtomicBoolean stop) {
    CountDownLatch ended = new CountDownLatch(1);
    try (ShutdownGuard guard =
        new ShutdownGuard(
            () -> {
              stop.set(true);
              awaitQuietly(ended);
            })) {
      return planner.plan();
    } finally {
      ended.countDown();
    }
  }

  private static void awaitQuietly(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void print(SchedulePlan plan) {
    PrintWriter out = spec.commandLine().getOut();
    out.printf(
        "%4s  %-5s  %8s  %8s  %6s  %9s%n", "step", "phase", "sigma", "next", "cfg", "curvature");
    for (int i = 0; i < plan.steps().size(); i++) {
      PhaseSigma step = plan.steps().get(i);
      out.printf(
          Locale.ROOT,
          "%4d  %-5s  %8.6f  %8.6f  %6.3f  %9.3f%n",
          i + 1,
          step.phase(),
          step.sigma(),
          plan.nextSigma(i),
          step.cfg() == null ? cfg : step.cfg(),
          plan.curvature().at(step.sigma()));
    }
    out.printf("%nerror of the latents, relative to 50 steps, on the planning prompts:%n");
    plan.errorTable().forEach(line -> out.println("  " + line));
    out.printf("%n%s%n%s%n", plan.splitReason(), output);
    if (plot != null) {
      out.println(plot);
    }
    out.flush();
  }
}
