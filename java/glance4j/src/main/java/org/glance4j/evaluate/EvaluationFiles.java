package org.glance4j.evaluate;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.glance4j.AtomicFile;
import org.glance4j.ContactSheet;
import org.glance4j.LineChart;
import org.glance4j.LineChart.Axis;
import org.glance4j.LineChart.Point;

/** The files of an {@link Evaluation}. */
final class EvaluationFiles {
  static final String TABLE = "evaluation.md";
  static final String FIGURES = "evaluation.json";
  static final String CHART = "quality.png";
  static final String SHEET = "sheet.png";

  private EvaluationFiles() {}

  static void requireWritable(Path folder) throws IOException {
    for (String name : List.of(TABLE, FIGURES, CHART, SHEET)) {
      AtomicFile.requireWritable(folder.resolve(name));
    }
  }

  static void write(Evaluation evaluation, Path folder, String command) throws IOException {
    text(folder.resolve(TABLE), heading(evaluation, command) + evaluation.table());
    text(folder.resolve(FIGURES), EvaluationJson.of(evaluation, command));
    chart(evaluation).write(folder.resolve(CHART));
    if (!evaluation.reference().samples().isEmpty()) {
      sheet(evaluation, folder.resolve(SHEET));
    }
  }

  private static void text(Path file, String text) throws IOException {
    AtomicFile.write(file, out -> out.write(text.getBytes(StandardCharsets.UTF_8)));
  }

  private static String heading(Evaluation evaluation, String command) {
    EvaluationRequest request = evaluation.request();
    Machine machine = evaluation.machine();
    StringBuilder text = new StringBuilder();
    text.append("# Evaluation\n\n    ").append(command).append("\n\n");
    text.append(
        """
        %d prompts, seeds %s, each picture compared with the model's own %d steps with CFG %s from the same noise.
        %s, %d cores, %d threads, backend %s, %s.

        - latent RMSE: `||x - ref|| / ||ref||` of the final latents, mean over pictures
        - PSNR: of the 8-bit pictures, mean over pictures of the dB; equal pictures count as %s dB
        - SSIM: Wang et al. 2004, of the luma, 11 x 11 Gaussian window of sigma 1.5
        - seconds: median of one picture, without text encoding; the methods take turns, prompt by prompt
        """
            .formatted(
                request.prompts().size(),
                request.seeds(),
                EvaluationRequest.REFERENCE_STEPS,
                EvaluationTable.plain(request.referenceCfg()),
                machine.system(),
                machine.cores(),
                machine.threads(),
                machine.backend(),
                machine.dtype(),
                EvaluationTable.plain(Similarity.MOST_DECIBELS)));
    PictureSet pictures = request.pictures();
    if (pictures != null) {
      text.append(
          "- retrieval: of how many pictures the nearest of %d named ones is the prompt's own, for the %d prompts among them\n"
              .formatted(
                  pictures.size(), request.prompts().stream().filter(pictures::has).count()));
    }
    text.append(
        "- PSNR gain: over the table's first method with as many evaluations, mean over pictures"
            + " ± its standard error\n\n");
    return text.toString();
  }

  /** One line for each group, in the order of its first method. */
  static LineChart chart(Evaluation evaluation) {
    Map<String, List<MethodResult>> groups = new LinkedHashMap<>();
    for (MethodResult result : evaluation.methods()) {
      groups.computeIfAbsent(result.method().group(), group -> new ArrayList<>()).add(result);
    }
    List<LineChart.Series> series = new ArrayList<>();
    groups.forEach(
        (group, results) -> {
          String name = results.size() == 1 ? results.get(0).method().name() : group;
          List<Point> points =
              results.stream()
                  .sorted(Comparator.comparingInt(MethodResult::evaluations))
                  .map(result -> new Point(result.evaluations(), result.psnr()))
                  .toList();
          series.add(new LineChart.Series(name, points, 1));
        });
    EvaluationRequest request = evaluation.request();
    String title =
        "Closeness to the model's own %d steps with CFG %s (%d pictures)"
            .formatted(
                EvaluationRequest.REFERENCE_STEPS,
                EvaluationTable.plain(request.referenceCfg()),
                evaluation.reference().pictures().size());
    return new LineChart(
        title, Axis.log2("transformer evaluations"), Axis.linear("PSNR (dB)"), series);
  }

  private static void sheet(Evaluation evaluation, Path file) throws IOException {
    List<ContactSheet.Row> rows = new ArrayList<>();
    MethodResult reference = evaluation.reference();
    rows.add(
        new ContactSheet.Row(
            reference.method().name(), evaluations(reference), reference.samples()));
    for (MethodResult result : evaluation.methods()) {
      String note = evaluations(result) + String.format(Locale.ROOT, ", %.1f dB", result.psnr());
      rows.add(new ContactSheet.Row(result.method().name(), note, result.samples()));
    }
    List<String> captions = evaluation.request().prompts().subList(0, reference.samples().size());
    ContactSheet.write(file, captions, rows);
  }

  private static String evaluations(MethodResult result) {
    return result.evaluations() + " evaluations";
  }
}
