package org.glance4j.evaluate;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The Markdown table of an {@link Evaluation}. */
final class EvaluationTable {
  private final Evaluation evaluation;
  private final boolean retrieval;
  private final List<String> lines = new ArrayList<>();

  private EvaluationTable(Evaluation evaluation) {
    this.evaluation = evaluation;
    this.retrieval = evaluation.reference().retrieval().isPresent();
  }

  static String of(Evaluation evaluation) {
    EvaluationTable table = new EvaluationTable(evaluation);
    table.heading();
    table.row(evaluation.reference(), true);
    evaluation.methods().forEach(result -> table.row(result, false));
    return String.join("\n", table.lines) + "\n";
  }

  private void heading() {
    List<String> names =
        new ArrayList<>(
            List.of(
                "method",
                "sampling",
                "evaluations",
                "latent RMSE",
                "PSNR (dB)",
                "SSIM",
                "seconds"));
    if (retrieval) {
      names.add("retrieval");
    }
    names.add("PSNR gain (dB)");
    line(names);
    line(names.stream().map(name -> "---").toList());
  }

  private void row(MethodResult result, boolean isReference) {
    List<String> cells = new ArrayList<>();
    cells.add(escaped(result.method().name()));
    cells.add(escaped(sampling(result.method())));
    cells.add(String.valueOf(result.evaluations()));
    cells.add(number("%.3f", result.latentError()));
    cells.add(isReference ? "" : number("%.2f", result.psnr()));
    cells.add(number("%.4f", result.ssim()));
    cells.add(seconds(result.medianSeconds()));
    result.retrieval().ifPresent(share -> cells.add(number("%.3f", share)));
    cells.add(isReference ? "" : gain(result));
    line(cells);
  }

  /** What it is, in the words of {@link Method#parse}; of files only their names. */
  static String sampling(Method method) {
    String text = schedule(method) + ", CFG " + cfg(method);
    Set<Path> names = new LinkedHashSet<>();
    Stream.of(method.slow(), method.fast())
        .filter(Objects::nonNull)
        .forEach(file -> names.add(file.getFileName()));
    if (names.isEmpty()) {
      return text;
    }
    boolean shared = method.slow() != null && method.slow().equals(method.fast());
    String files = names.stream().map(Path::toString).collect(Collectors.joining(" + ", ", ", ""));
    String scale = method.scale() == 1 ? "" : " at " + plain(method.scale());
    return text + files + (shared ? " for both phases" : "") + scale;
  }

  private static String cfg(Method method) {
    if (method.cfg() != null) {
      return plain(method.cfg());
    }
    return method.schedule().toString().contains(" cfg ") ? "of each step" : "1";
  }

  /** A list of sigmas is too long for a table; evaluation.json has it. */
  private static String schedule(Method method) {
    String text = method.schedule().toString();
    return text.startsWith("custom:") ? "custom, " + text.split(",", -1).length + " steps" : text;
  }

  private String gain(MethodResult result) {
    Optional<MethodResult> baseline = evaluation.baselineOf(result);
    if (baseline.isEmpty()) {
      return "";
    }
    MethodResult.Difference gain = result.psnrAbove(baseline.get());
    String error = Double.isNaN(gain.error()) ? "" : number(" ± %.2f", gain.error());
    return number("%+.2f", gain.mean()) + error;
  }

  private static String seconds(double seconds) {
    return number(seconds < 10 ? "%.3f" : "%.1f", seconds);
  }

  /** Without a fraction where there is none. */
  static String plain(double value) {
    return value == Math.rint(value) ? String.valueOf((long) value) : String.valueOf(value);
  }

  private static String number(String format, double value) {
    return String.format(Locale.ROOT, format, value);
  }

  private static String escaped(String text) {
    return text.replace("|", "\\|");
  }

  private void line(List<String> cells) {
    lines.add("| " + String.join(" | ", cells) + " |");
  }
}
