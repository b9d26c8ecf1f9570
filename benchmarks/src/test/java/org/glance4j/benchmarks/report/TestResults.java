package org.glance4j.benchmarks.report;

import static org.glance4j.benchmarks.kernel.Contender.OURS;
import static org.glance4j.benchmarks.kernel.Contender.PLAIN;
import static org.glance4j.benchmarks.kernel.Contender.UNFUSED;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.glance4j.DType;
import org.glance4j.benchmarks.kernel.CeilingCase;
import org.glance4j.benchmarks.kernel.Contender;
import org.glance4j.benchmarks.kernel.Cost;
import org.glance4j.benchmarks.kernel.FlowShape;
import org.glance4j.benchmarks.kernel.KernelCase.Family;
import org.glance4j.benchmarks.kernel.KernelCase.Name;
import org.glance4j.benchmarks.kernel.LoraShape;
import org.glance4j.benchmarks.report.GenerateComparison.Setting;
import org.jspecify.annotations.Nullable;

/** A run's results, made up. */
final class TestResults {
  private static final String LARGE = LoraShape.LARGE_LINEAR.text(1);
  private static final Machine MACHINE =
      new Machine(
          "Test CPU", "Test CPU", 2, 2, 8, "baseline", "Linux", "JVM 17", "2.13.0", "0.3.31", 0.5);

  private final List<Measured> kernels = new ArrayList<>();

  /** Products at 100 Gflop/s with LibTorch and 90 with ours; copying at 10 GB/s. */
  private static Ceilings ceilings() {
    List<Measured> cases = new ArrayList<>();
    Name copy = new Name(CeilingCase.COPY, Family.LARGE, "1 GB", DType.F32, 0);
    cases.add(new Measured(copy, new Cost(0, 1e9, Cost.Bound.MEMORY), Map.of(PLAIN, seconds(0.1))));
    for (DType dtype : DType.values()) {
      Name name = new Name(CeilingCase.MATMUL, Family.LARGE, "m", dtype, 0);
      Cost cost = new Cost(9e9, 1, Cost.Bound.MATMUL);
      cases.add(new Measured(name, cost, times(0.1, 0.09, null)));
    }
    return new Ceilings(cases);
  }

  TestResults loraLarge(DType dtype, int rank, double ours, double plain) {
    Name name = new Name("lora_linear", Family.LARGE, LARGE, dtype, rank);
    kernels.add(
        new Measured(name, new Cost(1e9, 1e6, Cost.Bound.MATMUL), times(ours, plain, 2 * ours)));
    return this;
  }

  TestResults loraBundled(String shape, DType dtype, double ours, double plain, double unfused) {
    Name name = new Name("lora_linear", Family.BUNDLED, shape, dtype, 16);
    kernels.add(
        new Measured(name, new Cost(1e9, 1e6, Cost.Bound.MATMUL), times(ours, plain, unfused)));
    return this;
  }

  TestResults flowStep(DType dtype, double ours, double unfused) {
    Name name = new Name("flow_step", Family.LARGE, FlowShape.LARGE_CFG.text(), dtype, 0);
    kernels.add(
        new Measured(name, new Cost(0, 1e6, Cost.Bound.MEMORY), times(ours, null, unfused)));
    return this;
  }

  Results build() {
    Map<Setting, double[]> seconds = new EnumMap<>(Setting.class);
    seconds.put(Setting.TORCH_F32, seconds(0.3));
    seconds.put(Setting.OURS_F32, seconds(0.2));
    seconds.put(Setting.OURS_BF16, seconds(0.15));
    List<GenerateComparison.Result> generate =
        List.of(new GenerateComparison.Result(10, 3.5, 1, 41.5, seconds));
    return new Results("2026-01-02", "command", MACHINE, ceilings(), kernels, generate);
  }

  private static Map<Contender, double[]> times(
      double ours, @Nullable Double plain, @Nullable Double unfused) {
    Map<Contender, double[]> times = new EnumMap<>(Contender.class);
    times.put(OURS, seconds(ours));
    if (plain != null) {
      times.put(PLAIN, seconds(plain));
    }
    if (unfused != null) {
      times.put(UNFUSED, seconds(unfused));
    }
    return times;
  }

  /** Three rounds around {@code median}. */
  private static double[] seconds(double median) {
    return new double[] {0.9 * median, median, 1.1 * median};
  }
}
