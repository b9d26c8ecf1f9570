package org.glance4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.geom.Point2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.glance4j.LineChart.Axis;
import org.glance4j.LineChart.Point;
import org.glance4j.LineChart.Series;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

class LineChartTest {
  private static final int BLUE = 0x2a6fbb;
  private static final int ORANGE = 0xe08214;

  @TempDir Path folder;

  private static Series line(String name, double... y) {
    double[] x = new double[y.length];
    for (int i = 0; i < x.length; i++) {
      x[i] = i + 1;
    }
    return Series.of(name, x, y);
  }

  private static int count(BufferedImage image, int colour) {
    int[] pixels =
        image.getRGB(0, 0, image.getWidth(), image.getHeight(), null, 0, image.getWidth());
    int found = 0;
    for (int pixel : pixels) {
      found += (pixel & 0xffffff) == colour ? 1 : 0;
    }
    return found;
  }

  @Test
  void writesEachSeriesInItsColour() throws IOException {
    LineChart chart =
        new LineChart(
            "Loss",
            Axis.linear("step"),
            Axis.log10("loss"),
            List.of(line("slow", 1, 0.5, 0.25), line("fast", 0.1, 0.2, 0.1)));
    Path file = folder.resolve("chart.png");
    chart.write(file);
    BufferedImage image = PngFile.readImage(file);
    assertTrue(count(image, BLUE) > 100, "no blue line");
    assertTrue(count(image, ORANGE) > 100, "no orange line");
    try (Stream<Path> files = Files.list(folder)) {
      assertEquals(List.of(file), files.toList());
    }
  }

  @Test
  void risingValuesAreDrawnUpwards() {
    BufferedImage image =
        new LineChart("t", Axis.linear("x"), Axis.linear("y"), List.of(line("a", 0, 10))).draw();
    assertTrue(lowest(image, 0, 600) > lowest(image, 600, 1200));
  }

  /** The greatest row with blue, in the columns given. */
  private static int lowest(BufferedImage image, int from, int to) {
    for (int y = image.getHeight() - 1; y >= 0; y--) {
      for (int x = from; x < to; x++) {
        if ((image.getRGB(x, y) & 0xffffff) == BLUE) {
          return y;
        }
      }
    }
    return -1;
  }

  @Test
  void aGapInterruptsTheLine() {
    BufferedImage whole =
        new LineChart("t", Axis.linear("x"), Axis.linear("y"), List.of(line("a", 1, 1, 1, 3)))
            .draw();
    BufferedImage broken =
        new LineChart(
                "t", Axis.linear("x"), Axis.linear("y"), List.of(line("a", 1, Double.NaN, 1, 3)))
            .draw();
    assertTrue(count(broken, BLUE) < 0.8 * count(whole, BLUE));
    assertTrue(count(broken, BLUE) > 100);
  }

  @Test
  void smoothingIsTheMeanOfTheWindow() {
    List<Point> line = line("a", 3, 0, 6, Double.NaN, 9, 1).smoothed(3).line();
    assertEquals(1.5, line.get(0).y());
    assertEquals(3, line.get(1).y());
    assertEquals(3, line.get(2).y());
    assertTrue(Double.isNaN(line.get(3).y()));
    assertEquals(5, line.get(4).y());
    assertEquals(5, line.get(5).y());
    assertEquals(line("a", 3, 0, 6).points(), line("a", 3, 0, 6).line());
  }

  @Test
  void ticksAreRoundNumbers() {
    assertEquals(
        List.of(4.0, 8.0, 16.0), new ChartAxis(Axis.log2("n"), 3.7, 21).ticks(), "powers of two");
    assertEquals(
        List.of(0.02, 0.05, 0.1, 0.2),
        new ChartAxis(Axis.log10("n"), 0.012, 0.4)
            .ticks().stream().map(tick -> Double.parseDouble(ChartAxis.text(tick))).toList());
    assertEquals(
        List.of("-2", "0", "2", "4"),
        new ChartAxis(Axis.linear("n"), -3, 5).ticks().stream().map(ChartAxis::text).toList());
    assertTrue(new ChartAxis(Axis.log2("n"), 9, 15).ticks().size() >= 2);
  }

  @Test
  void namesLieApartAndInside() {
    Rectangle2D area = new Rectangle2D.Double(0, 0, 1000, 600);
    Random random = new Random(5);
    ChartLabels labels = new ChartLabels(area);
    List<Point2D> points = new ArrayList<>();
    for (int i = 0; i < 15; i++) {
      points.add(new Point2D.Double(480 + random.nextInt(40), 280 + random.nextInt(40)));
      labels.avoid(points.get(i), points.get(i));
    }
    List<Rectangle2D> boxes = new ArrayList<>();
    for (Point2D point : points) {
      Rectangle2D box = labels.place(List.of(point), 120, 20).box();
      assertTrue(area.contains(box), box.toString());
      boxes.forEach(other -> assertFalse(box.intersects(other), box + " on " + other));
      points.forEach(other -> assertFalse(box.contains(other), box + " on " + other));
      boxes.add(box);
    }
  }

  @Test
  void saysWhatIsWrong() {
    Series zero = line("a", 1, 0);
    assertRefused(
        "a has the value 0.0 on the logarithmic axis \"loss\"",
        () -> new LineChart("t", Axis.linear("x"), Axis.log10("loss"), List.of(zero)));
    assertRefused(
        "at least 1", () -> new LineChart("t", Axis.linear("x"), Axis.linear("y"), List.of()));
    assertRefused("2 values of x, but 1 of y", () -> Series.of("a", new double[2], new double[1]));
    assertRefused("no point", () -> line("a", Double.NaN));
    assertRefused("Infinity", () -> line("a", Double.POSITIVE_INFINITY));
    assertRefused("window 0", () -> line("a", 1).smoothed(0));
  }

  private static void assertRefused(String text, Executable code) {
    String message =
        String.valueOf(assertThrows(IllegalArgumentException.class, code).getMessage());
    assertTrue(message.contains(text), message);
  }
}
