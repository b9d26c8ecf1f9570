package org.glance4j.plan;

import java.util.ArrayList;
import java.util.List;

/**
 * How fast the velocity turns along a trajectory: {@code |dv / dsigma| / |x_0|}, the mean over the
 * planning prompts. A step of length h leaves the trajectory by about {@code h^2 / 2} times it.
 * Immutable.
 *
 * @param nodes the sigmas between which it was measured, decreasing, at least 2
 * @param values of each interval, one less than nodes
 */
public record Curvature(List<Float> nodes, List<Double> values) {
  /** Copies the lists and checks their lengths. */
  public Curvature {
    nodes = List.copyOf(nodes);
    values = List.copyOf(values);
    if (nodes.size() < 2 || values.size() != nodes.size() - 1) {
      throw new IllegalArgumentException(
          "%d values do not fit %d nodes; give one less".formatted(values.size(), nodes.size()));
    }
  }

  static Curvature of(float[] nodes, double[] values) {
    List<Float> nodeList = new ArrayList<>();
    for (float node : nodes) {
      nodeList.add(node);
    }
    List<Double> valueList = new ArrayList<>();
    for (double value : values) {
      valueList.add(value);
    }
    return new Curvature(nodeList, valueList);
  }

  /** At one sigma; beyond the nodes it is that of the nearest interval. */
  public double at(double sigma) {
    int interval = 0;
    while (interval < values.size() - 1 && sigma < nodes.get(interval + 1)) {
      interval++;
    }
    return values.get(interval);
  }
}
