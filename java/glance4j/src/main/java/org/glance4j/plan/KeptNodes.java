package org.glance4j.plan;

import java.util.Arrays;

/**
 * Which nodes of a fine trajectory to keep, so that the cost of the jumps between them is least: a
 * shortest path of a given number of edges, by dynamic programming.
 */
final class KeptNodes {
  private KeptNodes() {}

  /**
   * The cheapest way from the first node to the last. Of equal ones, the one whose last jumps begin
   * earlier.
   *
   * @param cost {@code cost[j][k]} of the jump from node j to node k, read for j below k only; n
   *     rows of n columns
   * @param steps how many jumps, 1..n - 1
   * @return {@code steps + 1} nodes, ascending, from 0 to n - 1
   */
  static int[] choose(double[][] cost, int steps) {
    int nodes = cost.length;
    if (steps < 1 || steps > nodes - 1) {
      throw new IllegalArgumentException(
          "steps %d must be from 1 to %d".formatted(steps, nodes - 1));
    }
    double[] best = new double[nodes];
    Arrays.fill(best, Double.POSITIVE_INFINITY);
    best[0] = 0;
    int[][] cameFrom = new int[steps][];
    for (int step = 0; step < steps; step++) {
      double[] next = new double[nodes];
      cameFrom[step] = extend(cost, best, next);
      best = next;
    }
    return trace(cameFrom, nodes - 1);
  }

  /** Adds a jump: fills {@code next} from {@code best} and returns where each jump begins. */
  private static int[] extend(double[][] cost, double[] best, double[] next) {
    int[] from = new int[best.length];
    Arrays.fill(next, Double.POSITIVE_INFINITY);
    for (int k = 1; k < best.length; k++) {
      for (int j = 0; j < k; j++) {
        double total = best[j] + cost[j][k];
        if (total < next[k]) {
          next[k] = total;
          from[k] = j;
        }
      }
    }
    return from;
  }

  private static int[] trace(int[][] cameFrom, int last) {
    int[] path = new int[cameFrom.length + 1];
    path[cameFrom.length] = last;
    for (int step = cameFrom.length - 1; step >= 0; step--) {
      path[step] = cameFrom[step][path[step + 1]];
    }
    return path;
  }
}
