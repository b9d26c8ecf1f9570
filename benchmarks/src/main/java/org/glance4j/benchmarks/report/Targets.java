package org.glance4j.benchmarks.report;

import static org.glance4j.benchmarks.kernel.Contender.OURS;
import static org.glance4j.benchmarks.kernel.Contender.PLAIN;
import static org.glance4j.benchmarks.kernel.Contender.UNFUSED;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.function.Predicate;
import org.glance4j.DType;
import org.glance4j.benchmarks.kernel.Contender;
import org.glance4j.benchmarks.kernel.FlowShape;
import org.glance4j.benchmarks.kernel.KernelCase.Family;
import org.glance4j.benchmarks.kernel.LoraShape;

/** What was asked of the kernels, beside what was measured. */
public final class Targets {
  /**
   * One line.
   *
   * @param what the ratio, and where
   * @param asked the bound
   * @param atMost whether the bound is an upper one
   * @param labels which case each value is of
   * @param values the ratios; the line is met if all are within the bound
   */
  public record Line(
      String what, double asked, boolean atMost, List<String> labels, List<Double> values) {

    /** How many values are within the bound. */
    public long within() {
      return values.stream().filter(this::isWithin).count();
    }

    /** Whether there are values and all are within the bound. */
    public boolean met() {
      return !values.isEmpty() && within() == values.size();
    }

    /** Where the value furthest from the bound, to the wrong side, is; -1 without values. */
    public int worst() {
      int worst = -1;
      for (int i = 0; i < values.size(); i++) {
        if (worst < 0
            || (atMost ? values.get(i) > values.get(worst) : values.get(i) < values.get(worst))) {
          worst = i;
        }
      }
      return worst;
    }

    /** The geometric mean. */
    public double mean() {
      return Math.exp(values.stream().mapToDouble(Math::log).average().orElse(Double.NaN));
    }

    private boolean isWithin(double value) {
      return atMost ? value <= asked : value >= asked;
    }
  }

  private final Results results;
  private final List<Line> lines = new ArrayList<>();

  private Targets(Results results) {
    this.results = results;
  }

  /** All lines. */
  public static List<Line> of(Results results) {
    Targets targets = new Targets(results);
    targets.loraLinear(
        "fused / plain linear without adapter, 1024 x 3072 -> 3072",
        true,
        OURS,
        PLAIN,
        Targets::isLargeLinear,
        1.05,
        1.05);
    targets.loraLinear(
        "fused / plain linear without adapter, bundled shapes",
        true,
        OURS,
        PLAIN,
        Targets::isBundled,
        0.95,
        0.8);
    targets.loraLinear(
        "unfused / fused, bundled shapes", false, UNFUSED, OURS, Targets::isBundled, 1.25, 1.4);
    for (DType dtype : DType.values()) {
      targets.flowStep(dtype, 4);
      targets.matmul(dtype, 0.85);
    }
    targets.generate(GenerateComparison.Setting.OURS_F32, "f32", 1.3);
    targets.generate(GenerateComparison.Setting.OURS_BF16, "bf16", 2.2);
    return targets.lines;
  }

  private static boolean isLargeLinear(Measured one) {
    return one.name().shape().equals(LoraShape.LARGE_LINEAR.text(1));
  }

  private static boolean isBundled(Measured one) {
    return one.name().family() == Family.BUNDLED;
  }

  private void loraLinear(
      String what,
      boolean atMost,
      Contender numerator,
      Contender denominator,
      Predicate<Measured> which,
      double askedF32,
      double askedBf16) {
    for (DType dtype : DType.values()) {
      List<Measured> cases = kernels("lora_linear", dtype, which);
      lines.add(
          line(
              "lora_linear " + dtype + ": " + what,
              dtype == DType.F32 ? askedF32 : askedBf16,
              atMost,
              cases,
              one -> one.ratio(numerator, denominator).median()));
    }
  }

  private void flowStep(DType dtype, double asked) {
    List<Measured> cases =
        kernels("flow_step", dtype, one -> one.name().shape().equals(FlowShape.LARGE_CFG.text()));
    String what = "flow_step " + dtype + ": LibTorch's chain / ours, 16 x 128 x 128 with CFG";
    lines.add(line(what, asked, false, cases, one -> one.ratio(UNFUSED, OURS).median()));
  }

  private void matmul(DType dtype, double asked) {
    double share = results.ceilings().matmul(dtype, OURS) / results.ceilings().matmul(dtype, PLAIN);
    lines.add(
        new Line(
            "matmul " + dtype + ": our best rate without adapter / LibTorch's best",
            asked,
            false,
            List.of("best of all shapes"),
            List.of(share)));
  }

  private void generate(GenerateComparison.Setting setting, String dtype, double asked) {
    lines.add(
        new Line(
            "generate, bundled model, CFG 3.5: LibTorch f32 / ours " + dtype,
            asked,
            false,
            results.generate().stream().map(one -> one.steps() + " steps").toList(),
            results.generate().stream().map(one -> one.speedup(setting).median()).toList()));
  }

  private List<Measured> kernels(String operation, DType dtype, Predicate<Measured> which) {
    return results.kernels().stream()
        .filter(one -> one.name().operation().equals(operation))
        .filter(one -> one.name().dtype() == dtype)
        .filter(which)
        .toList();
  }

  private static Line line(
      String what,
      double asked,
      boolean atMost,
      List<Measured> cases,
      Function<Measured, Double> ratio) {
    List<String> labels =
        cases.stream()
            .map(
                one ->
                    one.name().shape() + (one.name().rank() == 0 ? "" : " r=" + one.name().rank()))
            .toList();
    return new Line(what, asked, atMost, labels, cases.stream().map(ratio).toList());
  }
}
