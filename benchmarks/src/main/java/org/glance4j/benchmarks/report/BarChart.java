package org.glance4j.benchmarks.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.FontMetrics;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.util.List;
import java.util.Locale;

/**
 * Horizontal bars of ratios, in groups of one label each, with a line at 1. Needs AWT and a font,
 * but no screen.
 */
public final class BarChart {
  /** One colour of bars; a value for each label, NaN for no bar. */
  public record Series(String name, List<Double> values) {}

  private static final Color[] COLOURS = {
    new Color(0x2a6fbb), new Color(0xe08214), new Color(0x4d9a52)
  };
  private static final Color INK = new Color(0x222222);
  private static final Color GRID = new Color(0xdddddd);
  private static final Color ONE = new Color(0xb2182b);

  private static final int WIDTH = 1200;
  private static final int BAR = 15;
  private static final int GAP = 12;
  private static final int MARGIN = 24;
  private static final int TOP = 96;
  private static final int BOTTOM = 64;
  private static final int VALUE_WIDTH = 110;
  private static final int TICK_HEIGHT = 22;

  /** Longer bars are cut here, so that one outlier does not flatten the rest. */
  private static final double LONGEST = 8;

  private final String title;
  private final String axis;
  private final List<String> labels;
  private final List<Series> series;

  /**
   * A chart.
   *
   * @param axis what the bars' length is
   * @param labels from top to bottom
   */
  public BarChart(String title, String axis, List<String> labels, List<Series> series) {
    for (Series one : series) {
      if (one.values().size() != labels.size()) {
        throw new IllegalArgumentException(
            "%s has %d values for %d labels"
                .formatted(one.name(), one.values().size(), labels.size()));
      }
    }
    if (series.size() > COLOURS.length) {
      throw new IllegalArgumentException("at most " + COLOURS.length + " series");
    }
    this.title = title;
    this.axis = axis;
    this.labels = List.copyOf(labels);
    this.series = List.copyOf(series);
  }

  /** Draws it. */
  public BufferedImage draw() {
    int height = TOP + labels.size() * groupHeight() + BOTTOM;
    BufferedImage image = new BufferedImage(WIDTH, height, BufferedImage.TYPE_INT_RGB);
    Graphics2D g = image.createGraphics();
    try {
      g.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
      g.setRenderingHint(
          RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
      g.setColor(Color.WHITE);
      g.fillRect(0, 0, WIDTH, height);
      g.setFont(font(Font.PLAIN, 14));
      new Drawing(g, height).draw();
    } finally {
      g.dispose();
    }
    return image;
  }

  private int groupHeight() {
    return series.size() * BAR + GAP;
  }

  private double largest() {
    return series.stream()
        .flatMap(one -> one.values().stream())
        .filter(Double::isFinite)
        .max(Double::compare)
        .map(value -> Math.min(value, LONGEST))
        .orElse(1.0);
  }

  /** The distance of grid lines: 1, 2 or 5 times a power of ten, giving at most some eight. */
  static double gridStep(double largest) {
    double rough = largest / 8;
    double power = Math.pow(10, Math.floor(Math.log10(rough)));
    for (int factor : new int[] {1, 2, 5}) {
      if (factor * power >= rough) {
        return factor * power;
      }
    }
    return 10 * power;
  }

  private static Font font(int style, int size) {
    return new Font(Font.SANS_SERIF, style, size);
  }

  /** One picture being drawn. */
  private final class Drawing {
    final Graphics2D g;
    final FontMetrics metrics;
    final int left;
    final int bottom;
    final double scale;

    Drawing(Graphics2D g, int height) {
      this.g = g;
      this.metrics = g.getFontMetrics();
      this.bottom = height - BOTTOM;
      this.left = MARGIN + labels.stream().mapToInt(metrics::stringWidth).max().orElse(0) + GAP;
      // The line at 1 is always in the picture.
      this.scale = (WIDTH - left - MARGIN - VALUE_WIDTH) / Math.max(1.1, largest());
    }

    void draw() {
      grid();
      for (int i = 0; i < labels.size(); i++) {
        group(i);
      }
      lineAtOne();
      for (int i = 0; i < labels.size(); i++) {
        values(i);
      }
      frame();
      legend();
    }

    int x(double value) {
      return left + (int) Math.round(Math.min(value, LONGEST) * scale);
    }

    void grid() {
      double step = gridStep(Math.max(1.1, largest()));
      for (int i = 0; i * step <= LONGEST && x(i * step) <= WIDTH - MARGIN; i++) {
        int x = x(i * step);
        g.setColor(GRID);
        g.drawLine(x, TOP, x, bottom);
        g.setColor(INK);
        String text = String.format(Locale.ROOT, "%.3g", i * step).replaceAll("\\.?0+$", "");
        centred(text.isEmpty() ? "0" : text, x, bottom + TICK_HEIGHT);
      }
    }

    void group(int index) {
      String label = labels.get(index);
      int middle = top(index, 0) + series.size() * BAR / 2 + metrics.getAscent() / 2 - 2;
      g.setColor(INK);
      g.drawString(label, left - GAP - metrics.stringWidth(label), middle);
      for (int i = 0; i < series.size(); i++) {
        double value = series.get(i).values().get(index);
        if (Double.isFinite(value)) {
          g.setColor(COLOURS[i]);
          g.fillRect(left, top(index, i), x(value) - left, BAR - 2);
        }
      }
    }

    /** After the line at 1, which would strike them through. */
    void values(int index) {
      g.setFont(font(Font.PLAIN, 12));
      for (int i = 0; i < series.size(); i++) {
        double value = series.get(i).values().get(index);
        if (Double.isFinite(value)) {
          String cut = value > LONGEST ? " (bar cut)" : "";
          String text = String.format(Locale.ROOT, "%.2f", value) + cut;
          int x = x(value) + 5;
          g.setColor(Color.WHITE);
          g.fillRect(x - 2, top(index, i), g.getFontMetrics().stringWidth(text) + 4, BAR - 2);
          g.setColor(INK);
          g.drawString(text, x, top(index, i) + BAR - 4);
        }
      }
      g.setFont(font(Font.PLAIN, 14));
    }

    int top(int index, int bar) {
      return TOP + index * groupHeight() + GAP / 2 + bar * BAR;
    }

    void lineAtOne() {
      g.setColor(ONE);
      g.setStroke(
          new BasicStroke(
              2, BasicStroke.CAP_BUTT, BasicStroke.JOIN_MITER, 10, new float[] {7, 5}, 0));
      g.drawLine(x(1), TOP, x(1), bottom);
      g.setStroke(new BasicStroke(1));
    }

    void frame() {
      g.setColor(INK);
      g.drawLine(left, TOP, left, bottom);
      g.drawLine(left, bottom, WIDTH - MARGIN, bottom);
      g.setFont(font(Font.BOLD, 18));
      g.drawString(title, MARGIN, MARGIN + 12);
      g.setFont(font(Font.PLAIN, 14));
      centred(axis, (left + WIDTH - MARGIN) / 2, bottom + TICK_HEIGHT + 24);
    }

    void legend() {
      int x = left;
      int y = TOP - 28;
      for (int i = 0; i < series.size(); i++) {
        g.setColor(COLOURS[i]);
        g.fillRect(x, y, BAR, BAR);
        g.setColor(INK);
        String name = series.get(i).name();
        g.drawString(name, x + BAR + 6, y + 12);
        x += BAR + 6 + metrics.stringWidth(name) + 28;
      }
      g.setColor(ONE);
      g.fillRect(x, y + BAR / 2 - 1, BAR, 2);
      g.setColor(INK);
      g.drawString("1.0: as fast", x + BAR + 6, y + 12);
    }

    void centred(String text, int x, int y) {
      g.drawString(text, x - g.getFontMetrics().stringWidth(text) / 2, y);
    }
  }
}
