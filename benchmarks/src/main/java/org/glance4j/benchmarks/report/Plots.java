package org.glance4j.benchmarks.report;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.imageio.ImageIO;
import org.glance4j.DType;
import org.glance4j.benchmarks.kernel.Contender;
import org.glance4j.benchmarks.report.BarChart.Series;

/** A run's ratios as pictures. */
public final class Plots {
  private final Results results;
  private final Path folder;
  private final String prefix;
  private final Map<String, List<String>> written = new LinkedHashMap<>();

  private Plots(Results results, Path folder, String prefix) {
    this.results = results;
    this.folder = folder;
    this.prefix = prefix;
  }

  /**
   * Writes a chart for each operation and type.
   *
   * @param prefix of the file names
   * @return the file names by operation
   */
  public static Map<String, List<String>> write(Results results, Path folder, String prefix)
      throws IOException {
    Plots plots = new Plots(results, folder, prefix);
    for (Map.Entry<String, List<Measured>> entry : results.byOperation().entrySet()) {
      for (DType dtype : DType.values()) {
        plots.operation(
            entry.getKey(),
            dtype,
            entry.getValue().stream().filter(one -> one.name().dtype() == dtype).toList());
      }
    }
    return plots.written;
  }

  private void operation(String operation, DType dtype, List<Measured> cases) throws IOException {
    if (cases.isEmpty()) {
      return;
    }
    List<Series> series = new ArrayList<>();
    if (cases.get(0).has(Contender.PLAIN)) {
      series.add(series("plain LibTorch matmul, no adapter", Contender.PLAIN, cases));
    }
    series.add(series("unfused LibTorch sequence", Contender.UNFUSED, cases));
    BarChart chart =
        new BarChart(
            "%s, %s, %d threads, %s"
                .formatted(
                    operation, dtype, results.machine().threads(), results.machine().device()),
            "LibTorch's time / our time (longer is better)",
            cases.stream().map(Plots::label).toList(),
            series);
    String name = "%s-%s-%s.png".formatted(prefix, operation, dtype);
    ImageIO.write(chart.draw(), "png", folder.resolve(name).toFile());
    written.computeIfAbsent(operation, key -> new ArrayList<>()).add(name);
  }

  private static Series series(String name, Contender contender, List<Measured> cases) {
    return new Series(
        name, cases.stream().map(one -> one.ratio(contender, Contender.OURS).median()).toList());
  }

  private static String label(Measured one) {
    String rank = one.name().rank() == 0 ? "" : ", r=" + one.name().rank();
    return one.name().shape() + rank;
  }
}
