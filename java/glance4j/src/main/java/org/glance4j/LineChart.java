package org.glance4j;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import javax.imageio.ImageIO;

/**
 * Lines of y over x, each with its name beside it. Drawing needs AWT and a font, but no screen.
 * Immutable.
 *
 * <pre>{@code
 * LineChart.Series slow = LineChart.Series.of("slow", steps, losses).smoothed(9);
 * new LineChart("Training", Axis.linear("step"), Axis.log10("loss"), List.of(slow))
 *     .write(Path.of("loss.png"));
 * }</pre>
 */
public final class LineChart {
  /** How an axis maps values to places. */
  public enum Scale {
    /** Evenly. */
    LINEAR,
    /** By logarithm, with ticks at powers of 2. */
    LOG2,
    /** By logarithm, with ticks at 1, 2 and 5 times powers of 10. */
    LOG10
  }

  /**
   * What an axis shows.
   *
   * @param label with the unit, as in {@code "PSNR (dB)"}
   */
  public record Axis(String label, Scale scale) {
    /** An axis of {@link Scale#LINEAR}. */
    public static Axis linear(String label) {
      return new Axis(label, Scale.LINEAR);
    }

    /** An axis of {@link Scale#LOG2}. */
    public static Axis log2(String label) {
      return new Axis(label, Scale.LOG2);
    }

    /** An axis of {@link Scale#LOG10}. */
    public static Axis log10(String label) {
      return new Axis(label, Scale.LOG10);
    }
  }

  /** One point of a line. A y that is not a number leaves a gap. */
  public record Point(double x, double y) {}

  /**
   * One line.
   *
   * @param name written beside it
   * @param points in the order they are joined; at least one with a number for y
   * @param window at least 1; above 1, the points themselves are pale, and the line is the mean of
   *     the {@code window} points around each, fewer at the ends
   */
  public record Series(String name, List<Point> points, int window) {
    /** Copies the list. */
    public Series {
      points = List.copyOf(points);
      if (window < 1) {
        throw new IllegalArgumentException("window " + window + " must be at least 1");
      }
      for (Point point : points) {
        if (!Double.isFinite(point.x()) || Double.isInfinite(point.y())) {
          throw new IllegalArgumentException(name + " has the point " + point + "; use numbers");
        }
      }
      if (points.stream().allMatch(point -> Double.isNaN(point.y()))) {
        throw new IllegalArgumentException(name + " has no point to draw; give at least 1");
      }
    }

    /** A line through {@code (x[i], y[i])}, without smoothing. */
    public static Series of(String name, double[] x, double[] y) {
      if (x.length != y.length) {
        throw new IllegalArgumentException(
            "%s has %d values of x, but %d of y".formatted(name, x.length, y.length));
      }
      List<Point> points = new ArrayList<>();
      for (int i = 0; i < x.length; i++) {
        points.add(new Point(x[i], y[i]));
      }
      return new Series(name, points, 1);
    }

    /** The same points with another {@link #window()}. */
    public Series smoothed(int points) {
      return new Series(name, this.points, points);
    }

    /** The points of the line: means over the window; a gap stays one. */
    List<Point> line() {
      List<Point> line = new ArrayList<>();
      for (int i = 0; i < points.size(); i++) {
        int first = Math.max(0, i - (window - 1) / 2);
        int end = Math.min(points.size(), i + window / 2 + 1);
        double mean =
            points.subList(first, end).stream()
                .mapToDouble(Point::y)
                .filter(Double::isFinite)
                .average()
                .orElse(Double.NaN);
        boolean gap = Double.isNaN(points.get(i).y());
        line.add(new Point(points.get(i).x(), gap ? Double.NaN : mean));
      }
      return line;
    }
  }

  private final String title;
  private final Axis x;
  private final Axis y;
  private final List<Series> series;

  /**
   * A chart.
   *
   * @param series at least one; on a logarithmic axis all values must be above 0
   */
  public LineChart(String title, Axis x, Axis y, List<Series> series) {
    if (series.isEmpty()) {
      throw new IllegalArgumentException("a chart needs at least 1 series");
    }
    for (Series one : series) {
      for (Point point : one.points()) {
        requirePositive(one, x, point.x());
        requirePositive(one, y, point.y());
      }
    }
    this.title = title;
    this.x = x;
    this.y = y;
    this.series = List.copyOf(series);
  }

  private static void requirePositive(Series series, Axis axis, double value) {
    if (axis.scale() != Scale.LINEAR && value <= 0) {
      throw new IllegalArgumentException(
          "%s has the value %s on the logarithmic axis \"%s\"; it must be above 0"
              .formatted(series.name(), value, axis.label()));
    }
  }

  /** Draws it: 1200 x 720 pixels. */
  public BufferedImage draw() {
    return ChartDrawing.draw(title, x, y, series);
  }

  /** Writes it as a PNG file, which is whole or, after an error, not there. */
  public void write(Path file) throws IOException {
    BufferedImage image = draw();
    AtomicFile.write(
        file,
        out -> {
          if (!ImageIO.write(image, "png", out)) {
            throw new IOException("this Java has no PNG writer");
          }
        });
  }
}
