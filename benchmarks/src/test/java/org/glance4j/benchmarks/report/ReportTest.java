package org.glance4j.benchmarks.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.imageio.ImageIO;
import org.glance4j.DType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ReportTest {
  private static final Results RESULTS =
      new TestResults()
          .loraLarge(DType.F32, 16, 0.020, 0.019)
          .loraLarge(DType.BF16, 16, 0.010, 0.012)
          .flowStep(DType.F32, 0.0002, 0.001)
          .build();

  @Test
  void tablesHaveRowsOfOneLengthAndTheNumbers() {
    String report = MarkdownReport.of(RESULTS, Map.of("lora_linear", List.of("plot.png")));
    int columns = -1;
    for (String line : report.split("\n", -1)) {
      int bars = (int) line.chars().filter(c -> c == '|').count();
      if (bars > 0 && columns > 0) {
        assertEquals(columns, bars, line);
      }
      columns = bars;
    }
    assertTrue(report.contains("![plot.png](plot.png)"));
    // 1 GFLOP in 20 ms is half of LibTorch's 100 GFLOP/s.
    assertTrue(report.contains("| 20000 | 1.05 (1.05-1.05) | 2.00 (2.00-2.00) | 50.0 | 0.50 |"));
    // 1 MB in 200 us, of 10 GB/s.
    assertTrue(report.contains("| 200.0 | 5.00 (5.00-5.00) | 5.0 | 0.50 |"));
    assertTrue(report.indexOf("## Asked and measured") < report.indexOf("## generate"));
  }

  @Test
  void jsonHasEveryRound() throws IOException {
    JsonNode root = new JsonMapper().readTree(JsonReport.of(RESULTS));
    JsonNode lora = root.get("kernels").get(0);
    assertEquals(3, lora.get("seconds").get("ours").size());
    assertEquals(0.02 / 0.019, lora.at("/ratios/ours~1plain/median").asDouble(), 1e-9);
    assertEquals(0.5, lora.get("share_of_ceiling").asDouble(), 1e-9);
    assertEquals(1.5, root.at("/generate/0/ratios/torch_f32~1ours_f32/median").asDouble(), 1e-9);
    assertEquals(Targets.of(RESULTS).size(), root.get("targets").size());
  }

  @Test
  void plotsAreOneForEachOperationAndType(@TempDir Path folder) throws IOException {
    Map<String, List<String>> plots = Plots.write(RESULTS, folder, "day");
    assertEquals(Set.of("lora_linear", "flow_step"), plots.keySet());
    assertEquals(
        List.of("day-lora_linear-f32.png", "day-lora_linear-bf16.png"), plots.get("lora_linear"));
    for (List<String> files : plots.values()) {
      for (String file : files) {
        BufferedImage image = ImageIO.read(folder.resolve(file).toFile());
        assertTrue(colours(image).size() > 3, file);
      }
    }
  }

  @Test
  void longerBarsForLargerValues() {
    BarChart.Series series = new BarChart.Series("s", List.of(0.5, 2.0));
    BufferedImage image = new BarChart("t", "a", List.of("x", "y"), List.of(series)).draw();
    int bar = 0xff2a6fbb;
    int[] lengths = new int[image.getHeight()];
    Set<Integer> seen = new HashSet<>();
    for (int y = 100; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        lengths[y] += image.getRGB(x, y) == bar ? 1 : 0;
      }
      if (lengths[y] > 0) {
        seen.add(lengths[y]);
      }
    }
    int longest = seen.stream().mapToInt(Integer::intValue).max().orElseThrow();
    int shortest = seen.stream().mapToInt(Integer::intValue).min().orElseThrow();
    // The dashed line at 1 takes some of the long bar's pixels.
    assertEquals(4, (double) longest / shortest, 0.1);
  }

  @Test
  void gridStepsAreRound() {
    assertEquals(0.2, BarChart.gridStep(1.5), 1e-12);
    assertEquals(1, BarChart.gridStep(7.9), 1e-12);
    assertEquals(5, BarChart.gridStep(35), 1e-12);
    assertEquals(20, BarChart.gridStep(90), 1e-12);
  }

  @Test
  void chartRefusesValuesWithoutLabels() {
    List<BarChart.Series> series = List.of(new BarChart.Series("s", List.of(1.0)));
    assertThrows(
        IllegalArgumentException.class, () -> new BarChart("t", "a", List.of("x", "y"), series));
  }

  private static Set<Integer> colours(BufferedImage image) {
    Set<Integer> colours = new HashSet<>();
    for (int y = 0; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        colours.add(image.getRGB(x, y));
      }
    }
    return colours;
  }
}
