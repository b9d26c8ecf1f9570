package org.glance4j;

import java.awt.geom.Point2D;
import java.awt.geom.Rectangle2D;
import java.util.ArrayList;
import java.util.List;

/**
 * Finds a place for each name beside its line: off other names, off lines, near a point of its own.
 * In pixels.
 */
final class ChartLabels {
  /**
   * A name's place.
   *
   * @param anchor the point of the line it names
   * @param far true if it stands so far off that a line should lead to it
   */
  record Place(Rectangle2D box, Point2D anchor, boolean far) {}

  /** Right, above, below, left, and between: at distances that need no line to lead there. */
  private static final double[][] DIRECTIONS = {
    {1, 0}, {1, -1}, {1, 1}, {0, -1}, {0, 1}, {-1, -1}, {-1, 1}, {-1, 0}
  };

  private static final double[] DISTANCES = {9, 16};

  /** Farther off: columns to both sides, so that names of points one above another form a list. */
  private static final double[] COLUMNS = {28, 60, 110, 180};

  private static final int ROWS = 12;
  private static final double ROW = 14;

  /**
   * A long line has so many points at which its name is tried: each is compared with all others.
   */
  private static final int ANCHORS = 32;

  /** A place, and what speaks against it beside what is there already. */
  private record Choice(Place place, double cost) {}

  private static final double ON_A_NAME = 1e6;
  private static final double ON_A_LINE = 20;
  private static final double BESIDE_ANOTHER_POINT = 12;
  private static final double BESIDE = 10;
  private static final double EARLIER_POINT = 15;
  private static final double LATER_DIRECTION = 2;
  private static final double LEADER = 12;
  private static final double CLEARANCE = 3;

  private final Rectangle2D area;
  private final List<Point2D> inked = new ArrayList<>();
  private final List<Point2D> points = new ArrayList<>();
  private final List<Rectangle2D> taken = new ArrayList<>();

  /**
   * @param area where names may stand
   */
  ChartLabels(Rectangle2D area) {
    this.area = area;
  }

  /** Keeps names off the segment, and other lines' names from beside its end {@code to}. */
  void avoid(Point2D from, Point2D to) {
    points.add(to);
    int samples = 1 + (int) (from.distance(to) / 4);
    for (int i = 0; i <= samples; i++) {
      double t = (double) i / samples;
      inked.add(
          new Point2D.Double(
              from.getX() + t * (to.getX() - from.getX()),
              from.getY() + t * (to.getY() - from.getY())));
    }
  }

  /**
   * Takes the cheapest place for a name of this size.
   *
   * @param own the points of its line, at least one
   */
  Place place(List<Point2D> own, double width, double height) {
    Place best = null;
    double least = Double.POSITIVE_INFINITY;
    int apart = 1 + own.size() / ANCHORS;
    for (int back = 0; back < own.size(); back += apart) {
      for (Choice choice : around(own.get(own.size() - 1 - back), width, height)) {
        double cost =
            choice.cost() + cost(choice.place().box(), own) + EARLIER_POINT * Math.min(back, 3);
        if (cost < least) {
          least = cost;
          best = choice.place();
        }
      }
    }
    if (best == null) {
      throw new IllegalStateException("no point to name");
    }
    taken.add(best.box());
    return best;
  }

  private static List<Choice> around(Point2D anchor, double width, double height) {
    List<Choice> choices = new ArrayList<>();
    for (int i = 0; i < DIRECTIONS.length; i++) {
      double[] direction = DIRECTIONS[i];
      double norm = Math.hypot(direction[0], direction[1]);
      for (double distance : DISTANCES) {
        double x = anchor.getX() + direction[0] / norm * distance + (direction[0] - 1) / 2 * width;
        double y = anchor.getY() + direction[1] / norm * distance + (direction[1] - 1) / 2 * height;
        Rectangle2D box = new Rectangle2D.Double(x, y, width, height);
        choices.add(new Choice(new Place(box, anchor, false), distance + LATER_DIRECTION * i));
      }
    }
    for (double column : COLUMNS) {
      for (int row = -ROWS; row <= ROWS; row++) {
        double y = anchor.getY() + row * ROW - height / 2;
        double cost = LEADER + column / 2 + Math.abs(row * ROW) / 2;
        Rectangle2D right = new Rectangle2D.Double(anchor.getX() + column, y, width, height);
        Rectangle2D left = new Rectangle2D.Double(anchor.getX() - column - width, y, width, height);
        choices.add(new Choice(new Place(right, anchor, true), cost));
        choices.add(new Choice(new Place(left, anchor, true), cost + LEADER));
      }
    }
    return choices;
  }

  private double cost(Rectangle2D box, List<Point2D> own) {
    double cost = 0;
    Rectangle2D grown = grown(box, CLEARANCE);
    Rectangle2D around = grown(box, BESIDE);
    for (Rectangle2D other : taken) {
      if (other.intersects(grown)) {
        cost += ON_A_NAME;
      }
    }
    if (!area.contains(box)) {
      cost += ON_A_NAME;
    }
    for (Point2D ink : inked) {
      if (grown.contains(ink)) {
        cost += ON_A_LINE;
      }
    }
    for (Point2D point : points) {
      if (around.contains(point) && !own.contains(point)) {
        cost += BESIDE_ANOTHER_POINT;
      }
    }
    return cost;
  }

  private static Rectangle2D grown(Rectangle2D box, double by) {
    return new Rectangle2D.Double(
        box.getX() - by, box.getY() - by, box.getWidth() + 2 * by, box.getHeight() + 2 * by);
  }
}
