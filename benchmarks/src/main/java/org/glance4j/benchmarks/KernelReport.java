package org.glance4j.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.time.ZoneId;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.glance4j.benchmarks.kernel.Catalogue;
import org.glance4j.benchmarks.kernel.Contender;
import org.glance4j.benchmarks.kernel.KernelCase;
import org.glance4j.benchmarks.kernel.Place;
import org.glance4j.benchmarks.report.Alternating;
import org.glance4j.benchmarks.report.Ceilings;
import org.glance4j.benchmarks.report.GenerateComparison;
import org.glance4j.benchmarks.report.JsonReport;
import org.glance4j.benchmarks.report.Machine;
import org.glance4j.benchmarks.report.MarkdownReport;
import org.glance4j.benchmarks.report.Measured;
import org.glance4j.benchmarks.report.Plots;
import org.glance4j.benchmarks.report.Results;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeRuntime;

/**
 * Measures every kernel beside LibTorch, and whole generations, and writes a report: DATE-kernels
 * .md, .json and plots.
 *
 * <p>Arguments: [--quick] [--only=OPERATION,...] FOLDER. The ceilings are always measured;
 * "generate" is an operation too. {@link Place} says on which device.
 */
public final class KernelReport {
  private static final int THREADS = 2;
  private static final int[] STEPS = {10, 50};

  private static final String ONLY = "--only=";
  private static final String GENERATE = "generate";

  private final boolean quick;
  private final Set<String> only;
  private final Alternating alternating;

  private KernelReport(boolean quick, Set<String> only) {
    this.quick = quick;
    this.only = only;
    this.alternating = new Alternating(quick ? Alternating.Plan.QUICK : Alternating.Plan.FULL);
  }

  /** Runs it. */
  public static void main(String[] arguments) throws IOException {
    boolean quick = false;
    Set<String> only = new HashSet<>();
    List<String> folders = new ArrayList<>();
    for (String argument : arguments) {
      if (argument.equals("--quick")) {
        quick = true;
      } else if (argument.startsWith(ONLY)) {
        only.addAll(List.of(argument.substring(ONLY.length()).split(",")));
      } else {
        folders.add(argument);
      }
    }
    Set<String> operations = operations();
    if (folders.size() != 1 || folders.get(0).startsWith("-") || !operations.containsAll(only)) {
      System.err.println("arguments: [--quick] [--only=OPERATION,...] FOLDER");
      System.err.println("operations: " + String.join(", ", operations));
      System.exit(2);
    }
    NativeRuntime.setThreads(THREADS);
    Path folder = Files.createDirectories(Path.of(folders.get(0)));
    KernelReport report = new KernelReport(quick, only);
    write(report.measure("KernelReport " + String.join(" ", arguments)), folder);
  }

  private static Set<String> operations() {
    Set<String> operations = new LinkedHashSet<>();
    Catalogue.cases(false).forEach(entry -> operations.add(entry.operation()));
    operations.add(GENERATE);
    return operations;
  }

  private Results measure(String command) {
    Machine machine = Machine.here();
    Ceilings ceilings = new Ceilings(measureAll(Catalogue.ceilings()));
    List<Measured> kernels =
        measureAll(
            Catalogue.cases(quick).stream().filter(entry -> isWanted(entry.operation())).toList());
    return new Results(
        LocalDate.now(ZoneId.systemDefault()).toString(),
        command,
        machine,
        ceilings,
        kernels,
        generate());
  }

  private boolean isWanted(String operation) {
    return only.isEmpty() || only.contains(operation);
  }

  private List<Measured> measureAll(List<Catalogue.Entry> entries) {
    List<Measured> all = new ArrayList<>();
    for (Catalogue.Entry entry : entries) {
      try (KernelCase kernelCase = entry.opener().get()) {
        Measured measured = Measured.of(kernelCase, alternating);
        all.add(measured);
        tell(measured);
      }
    }
    return all;
  }

  private List<GenerateComparison.Result> generate() {
    if (!isWanted(GENERATE)) {
      return List.of();
    }
    if (Place.backend() == Backend.CUDA) {
      System.out.println("generate is left out: LibTorch's side of it is on the CPU");
      return List.of();
    }
    List<GenerateComparison.Result> all = new ArrayList<>();
    try (GenerateComparison comparison = new GenerateComparison(THREADS)) {
      for (int steps : STEPS) {
        all.add(comparison.measure(steps, alternating));
      }
    }
    return all;
  }

  private static void tell(Measured measured) {
    StringBuilder line = new StringBuilder(measured.name().toString());
    for (Contender contender : measured.seconds().keySet()) {
      line.append(
          String.format(
              Locale.ROOT,
              "  %s %.1f us",
              contender.name().toLowerCase(Locale.ROOT),
              measured.median(contender) * 1e6));
    }
    System.out.println(line);
  }

  private static void write(Results results, Path folder) throws IOException {
    String prefix = results.date() + "-kernels";
    Files.writeString(folder.resolve(prefix + ".json"), JsonReport.of(results) + "\n");
    Map<String, List<String>> plots = Plots.write(results, folder, prefix);
    Path text = folder.resolve(prefix + ".md");
    Files.writeString(text, MarkdownReport.of(results, plots));
    System.out.println(text);
  }
}
