package org.glance4j;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.FontMetrics;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.Shape;
import java.awt.Stroke;
import java.awt.geom.AffineTransform;
import java.awt.geom.Ellipse2D;
import java.awt.geom.Line2D;
import java.awt.geom.Point2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.glance4j.LineChart.Axis;
import org.glance4j.LineChart.Point;
import org.glance4j.LineChart.Series;

/** A {@link LineChart} being drawn. */
final class ChartDrawing {
  private static final Color[] COLOURS = {
    new Color(0x2a6fbb), new Color(0xe08214), new Color(0x4d9a52), new Color(0xb2182b),
    new Color(0x7b5ea7), new Color(0x8c6d31), new Color(0x1b8f8f), new Color(0xc9518f)
  };
  private static final Color INK = new Color(0x222222);
  private static final Color GRID = new Color(0xdddddd);
  private static final Color PAPER = Color.WHITE;

  private static final int WIDTH = 1200;
  private static final int HEIGHT = 720;
  private static final int MARGIN = 24;
  private static final int TOP = 72;
  private static final int BOTTOM = 84;
  private static final int GAP = 10;
  private static final int NAMES_AT_MOST = 260;
  private static final Stroke LINE =
      new BasicStroke(2.5f, BasicStroke.CAP_ROUND, BasicStroke.JOIN_ROUND);
  private static final Stroke THIN = new BasicStroke(1);
  private static final double MARKER = 9;

  /** More points than these make markers a band. */
  private static final int MARKED_POINTS = 40;

  private final Graphics2D g;
  private final FontMetrics metrics;
  private final String title;
  private final ChartAxis x;
  private final ChartAxis y;
  private final List<Series> series;
  private final int left;
  private final int right;

  private ChartDrawing(Graphics2D g, String title, Axis x, Axis y, List<Series> series) {
    this.g = g;
    g.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, 16));
    this.metrics = g.getFontMetrics();
    this.title = title;
    this.x = ChartAxis.around(x, series, Point::x);
    this.y = ChartAxis.around(y, series, Point::y);
    this.series = series;
    int numbers =
        this.y.ticks().stream()
            .mapToInt(tick -> metrics.stringWidth(ChartAxis.text(tick)))
            .max()
            .orElse(0);
    this.left = MARGIN + metrics.getHeight() + GAP + numbers + GAP;
    this.right = left + plotWidth();
  }

  /** As wide as it can be with room for each name to the right of its line's end. */
  private int plotWidth() {
    double room = WIDTH - MARGIN - left;
    double width = room;
    for (Series one : series) {
      double end = one.points().stream().mapToDouble(Point::x).max().orElseThrow();
      int name = Math.min(NAMES_AT_MOST, metrics.stringWidth(one.name()));
      width = Math.min(width, (room - name - 2 * GAP) / x.place(end));
    }
    return (int) width;
  }

  static BufferedImage draw(String title, Axis x, Axis y, List<Series> series) {
    BufferedImage image = new BufferedImage(WIDTH, HEIGHT, BufferedImage.TYPE_INT_RGB);
    Graphics2D g = image.createGraphics();
    try {
      g.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
      g.setRenderingHint(
          RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
      g.setRenderingHint(RenderingHints.KEY_STROKE_CONTROL, RenderingHints.VALUE_STROKE_PURE);
      g.setColor(PAPER);
      g.fillRect(0, 0, WIDTH, HEIGHT);
      new ChartDrawing(g, title, x, y, series).draw();
    } finally {
      g.dispose();
    }
    return image;
  }

  private void draw() {
    grid();
    frame();
    for (int i = 0; i < series.size(); i++) {
      if (series.get(i).window() > 1) {
        g.setColor(mixed(colour(i), 0.7));
        g.setStroke(THIN);
        join(places(series.get(i).points()));
      }
    }
    for (int i = 0; i < series.size(); i++) {
      g.setColor(colour(i));
      g.setStroke(LINE);
      join(line(i));
      markers(i);
    }
    names();
  }

  private void grid() {
    g.setStroke(THIN);
    for (double tick : x.ticks()) {
      int at = (int) Math.round(place(tick, Double.NaN).getX());
      g.setColor(GRID);
      g.drawLine(at, TOP, at, HEIGHT - BOTTOM);
      g.setColor(INK);
      centred(ChartAxis.text(tick), at, HEIGHT - BOTTOM + GAP + metrics.getAscent());
    }
    for (double tick : y.ticks()) {
      int at = (int) Math.round(place(Double.NaN, tick).getY());
      g.setColor(GRID);
      g.drawLine(left, at, right, at);
      g.setColor(INK);
      String text = ChartAxis.text(tick);
      g.drawString(text, left - GAP - metrics.stringWidth(text), at + metrics.getAscent() / 2 - 2);
    }
  }

  private void frame() {
    g.setColor(INK);
    g.drawLine(left, TOP, left, HEIGHT - BOTTOM);
    g.drawLine(left, HEIGHT - BOTTOM, right, HEIGHT - BOTTOM);
    Font plain = g.getFont();
    g.setFont(plain.deriveFont(Font.BOLD, 20f));
    g.drawString(title, MARGIN, MARGIN + 18);
    g.setFont(plain);
    centred(x.axis().label(), (left + right) / 2, HEIGHT - MARGIN);
    AffineTransform upright = g.getTransform();
    g.rotate(-Math.PI / 2, MARGIN + metrics.getAscent(), (TOP + HEIGHT - BOTTOM) / 2.0);
    centred(y.axis().label(), MARGIN + metrics.getAscent(), (TOP + HEIGHT - BOTTOM) / 2);
    g.setTransform(upright);
  }

  private void join(List<Point2D> points) {
    for (int i = 1; i < points.size(); i++) {
      if (!isGap(points.get(i - 1)) && !isGap(points.get(i))) {
        g.draw(new Line2D.Double(points.get(i - 1), points.get(i)));
      }
    }
  }

  /** Around each point, or at least around those that no line reaches. */
  private void markers(int index) {
    List<Point2D> points = line(index);
    boolean all = points.size() <= MARKED_POINTS && series.get(index).window() == 1;
    for (int i = 0; i < points.size(); i++) {
      boolean before = i > 0 && !isGap(points.get(i - 1));
      boolean after = i + 1 < points.size() && !isGap(points.get(i + 1));
      if (!isGap(points.get(i)) && (all || !(before || after))) {
        g.setColor(colour(index));
        g.fill(marker(points.get(i), index));
        g.setColor(PAPER);
        g.setStroke(THIN);
        g.draw(marker(points.get(i), index));
      }
    }
  }

  /** Where colours begin again, squares tell the lines apart. */
  private static Shape marker(Point2D at, int index) {
    double corner = MARKER / 2;
    return index / COLOURS.length % 2 == 0
        ? new Ellipse2D.Double(at.getX() - corner, at.getY() - corner, MARKER, MARKER)
        : new Rectangle2D.Double(at.getX() - corner, at.getY() - corner, MARKER, MARKER);
  }

  private void names() {
    ChartLabels labels =
        new ChartLabels(new Rectangle2D.Double(left + 2, TOP, WIDTH - left - 6, plotHeight() - 2));
    List<List<Point2D>> lines = new ArrayList<>();
    for (int i = 0; i < series.size(); i++) {
      List<Point2D> points = line(i);
      for (int p = 0; p < points.size(); p++) {
        Point2D to = points.get(p);
        Point2D from = p > 0 && !isGap(points.get(p - 1)) ? points.get(p - 1) : to;
        if (!isGap(to)) {
          labels.avoid(from, to);
        }
      }
      lines.add(points.stream().filter(point -> !isGap(point)).toList());
    }
    List<Integer> order = new ArrayList<>();
    for (int i = 0; i < series.size(); i++) {
      order.add(i);
    }
    // A single point has the fewest places to choose from; from the top down, names stay in order.
    order.sort(
        Comparator.<Integer>comparingInt(i -> Math.min(2, lines.get(i).size()))
            .thenComparingDouble(i -> lines.get(i).get(lines.get(i).size() - 1).getY()));
    for (int i : order) {
      String name = series.get(i).name();
      name(i, labels.place(lines.get(i), metrics.stringWidth(name), metrics.getHeight()));
    }
  }

  private void name(int index, ChartLabels.Place place) {
    Rectangle2D box = place.box();
    if (place.far()) {
      g.setColor(mixed(colour(index), 0.4));
      g.setStroke(THIN);
      boolean onTheRight = box.getX() > place.anchor().getX();
      double side = onTheRight ? box.getX() - 3 : box.getMaxX() + 3;
      g.draw(new Line2D.Double(place.anchor(), new Point2D.Double(side, box.getCenterY())));
    }
    g.setColor(new Color(255, 255, 255, 200));
    g.fill(box);
    g.setColor(mixed(colour(index), -0.2));
    g.drawString(
        series.get(index).name(), (float) box.getX(), (float) box.getY() + metrics.getAscent());
  }

  private List<Point2D> line(int index) {
    return places(series.get(index).line());
  }

  private List<Point2D> places(List<Point> points) {
    List<Point2D> places = new ArrayList<>();
    points.forEach(point -> places.add(place(point.x(), point.y())));
    return places;
  }

  private Point2D place(double valueX, double valueY) {
    return new Point2D.Double(
        left + x.place(valueX) * (right - left), HEIGHT - BOTTOM - y.place(valueY) * plotHeight());
  }

  private static int plotHeight() {
    return HEIGHT - BOTTOM - TOP;
  }

  private static boolean isGap(Point2D point) {
    return Double.isNaN(point.getY());
  }

  private static Color colour(int index) {
    return COLOURS[index % COLOURS.length];
  }

  /** Towards white for a part above 0, towards black below. */
  private static Color mixed(Color colour, double part) {
    int end = part > 0 ? 255 : 0;
    double weight = Math.abs(part);
    return new Color(
        (int) Math.round(colour.getRed() + weight * (end - colour.getRed())),
        (int) Math.round(colour.getGreen() + weight * (end - colour.getGreen())),
        (int) Math.round(colour.getBlue() + weight * (end - colour.getBlue())));
  }

  private void centred(String text, int at, int baseline) {
    g.drawString(text, at - metrics.stringWidth(text) / 2f, baseline);
  }
}
