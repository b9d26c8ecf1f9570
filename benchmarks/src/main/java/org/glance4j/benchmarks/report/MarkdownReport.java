package org.glance4j.benchmarks.report;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.glance4j.DType;
import org.glance4j.benchmarks.kernel.Contender;
import org.glance4j.benchmarks.kernel.Cost;
import org.glance4j.benchmarks.report.GenerateComparison.Setting;

/** A run's numbers for readers. */
public final class MarkdownReport {
  private final Results results;
  private final StringBuilder text = new StringBuilder();

  private MarkdownReport(Results results) {
    this.results = results;
  }

  /**
   * The report.
   *
   * @param plots file names of plots by the operation they belong to
   */
  public static String of(Results results, Map<String, List<String>> plots) {
    MarkdownReport report = new MarkdownReport(results);
    report.head();
    report.targets();
    report.generate();
    results
        .byOperation()
        .forEach(
            (name, cases) -> report.operation(name, cases, plots.getOrDefault(name, List.of())));
    report.ceilings();
    return report.text.toString();
  }

  private void head() {
    Machine machine = results.machine();
    boolean onCpu = machine.device().equals(machine.cpu());
    line("# Kernels on %s, %s", onCpu ? "the CPU" : machine.device(), results.date());
    line("");
    line(
        "Machine: %s, %d cores, %.0f GB, %s. %d threads. Kernels for: %s.",
        machine.cpu(),
        machine.cores(),
        machine.memoryGigabytes(),
        machine.os(),
        machine.threads(),
        machine.instructionSets());
    line(
        "With: LibTorch %s, OpenBLAS %s, %s. Load average before: %.1f.",
        machine.libTorch(), machine.openBlas(), machine.jdk(), machine.load());
    line("");
    line("    %s", results.command());
    line("");
    line(
        "Contenders take turns in one process. A time is the median of the rounds, a ratio the ratio"
            + " of medians; in brackets the quartiles of the rounds' own ratios. Results were compared"
            + " with float64 and with each other before anything was timed. Every contender allocates"
            + " its outputs. \"Plain\" is one LibTorch matmul with bias and nothing else: less work than"
            + " ours. \"Unfused\" is the same work as a sequence of LibTorch operations.");
    line("");
  }

  private void targets() {
    line("## Asked and measured");
    line("");
    line("| what | asked | measured: worst | mean | within | met |");
    line("|---|---|---|---|---|---|");
    for (Targets.Line target : Targets.of(results)) {
      int worst = target.worst();
      line(
          "| %s | %s %.2f | %s | %s | %d of %d | %s |",
          target.what(),
          target.atMost() ? "<=" : ">=",
          target.asked(),
          worst < 0
              ? "not measured"
              : "%.2f (%s)".formatted(target.values().get(worst), target.labels().get(worst)),
          worst < 0 ? "" : format("%.2f", target.mean()),
          target.within(),
          target.values().size(),
          target.met() ? "yes" : "**no**");
    }
    line("");
  }

  private void generate() {
    if (results.generate().isEmpty()) {
      return;
    }
    line("## generate");
    line("");
    line(
        "Bundled model, 64x64, CFG %.1f, a new prompt each time.", results.generate().get(0).cfg());
    line("");
    line(
        "| steps | LibTorch f32, ms | ours f32, ms | ours bf16, ms | LibTorch / ours f32 | LibTorch /"
            + " ours bf16 | f32 pictures differ by | bf16 PSNR |");
    line("|---|---|---|---|---|---|---|---|");
    for (GenerateComparison.Result one : results.generate()) {
      line(
          "| %d | %.1f | %.1f | %.1f | %s | %s | %d of 255 | %.1f dB |",
          one.steps(),
          one.time(Setting.TORCH_F32).median() * 1e3,
          one.time(Setting.OURS_F32).median() * 1e3,
          one.time(Setting.OURS_BF16).median() * 1e3,
          ratio(one.speedup(Setting.OURS_F32)),
          ratio(one.speedup(Setting.OURS_BF16)),
          one.levels(),
          one.psnr());
    }
    line("");
  }

  private void operation(String name, List<Measured> cases, List<String> plots) {
    boolean plain = cases.get(0).has(Contender.PLAIN);
    boolean matmul = cases.get(0).cost().bound() == Cost.Bound.MATMUL;
    line("## %s", name);
    line("");
    plots.forEach(plot -> line("![%s](%s)", plot, plot));
    line("");
    line(
        "| shape | rank | type | ours, us |%s unfused / ours | %s | share of ceiling |",
        plain ? " ours / plain |" : "", matmul ? "GFLOP/s" : "GB/s");
    line("|---|---|---|---|%s---|---|---|", plain ? "---|" : "");
    for (Measured one : cases) {
      line(
          "| %s | %s | %s | %s |%s %s | %.1f | %.2f |",
          one.name().shape(),
          one.name().rank() == 0 ? "" : Integer.toString(one.name().rank()),
          one.name().dtype(),
          micros(one.median(Contender.OURS)),
          plain ? " " + ratio(one.ratio(Contender.OURS, Contender.PLAIN)) + " |" : "",
          ratio(one.ratio(Contender.UNFUSED, Contender.OURS)),
          one.rate(Contender.OURS) / 1e9,
          results.ceilings().share(one));
    }
    line("");
  }

  private void ceilings() {
    Ceilings ceilings = results.ceilings();
    line("## The machine's ceilings");
    line("");
    line("Copy: %.1f GB/s, read and written.", ceilings.copy() / 1e9);
    line("");
    line("| product | type | LibTorch, GFLOP/s | ours, GFLOP/s |");
    line("|---|---|---|---|");
    for (Measured one : ceilings.cases()) {
      if (one.has(Contender.OURS)) {
        line(
            "| %s | %s | %.1f | %.1f |",
            one.name().shape(),
            one.name().dtype(),
            one.rate(Contender.PLAIN) / 1e9,
            one.rate(Contender.OURS) / 1e9);
      }
    }
    for (DType dtype : DType.values()) {
      line(
          "| best | %s | %.1f | %.1f |",
          dtype,
          ceilings.matmul(dtype, Contender.PLAIN) / 1e9,
          ceilings.matmul(dtype, Contender.OURS) / 1e9);
    }
    line("");
    line(
        "A share above 1 means that a cache held what was read, or that a product is faster at"
            + " another shape than at these.");
  }

  private static String ratio(Spread spread) {
    return format("%.2f (%.2f-%.2f)", spread.median(), spread.lower(), spread.upper());
  }

  private static String micros(double seconds) {
    double micros = seconds * 1e6;
    return format(micros < 1000 ? "%.1f" : "%.0f", micros);
  }

  private void line(String format, Object... values) {
    text.append(format(format, values)).append('\n');
  }

  private static String format(String format, Object... values) {
    return String.format(Locale.ROOT, format, values);
  }
}
