package org.glance4j.plan;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.junit.jupiter.api.Test;

class KeptNodesTest {
  @Test
  void costsAsLittleAsTheBestOfAllLists() {
    for (long seed = 0; seed < 50; seed++) {
      Random random = new Random(seed);
      int nodes = 2 + random.nextInt(9);
      double[][] cost = new double[nodes][nodes];
      for (double[] row : cost) {
        for (int k = 0; k < nodes; k++) {
          row[k] = random.nextDouble();
        }
      }
      for (int steps = 1; steps < nodes; steps++) {
        int[] chosen = KeptNodes.choose(cost, steps);
        String what = "seed " + seed + ", " + steps + " of " + nodes;
        assertEquals(steps + 1, chosen.length, what);
        assertEquals(0, chosen[0], what);
        assertEquals(nodes - 1, chosen[steps], what);
        assertEquals(cheapest(cost, 0, steps), costOf(cost, chosen), 1e-12, what);
      }
    }
  }

  /** Tries every list. */
  private static double cheapest(double[][] cost, int from, int steps) {
    int last = cost.length - 1;
    if (steps == 0) {
      return from == last ? 0 : Double.POSITIVE_INFINITY;
    }
    double best = Double.POSITIVE_INFINITY;
    for (int to = from + 1; to <= last; to++) {
      best = Math.min(best, cost[from][to] + cheapest(cost, to, steps - 1));
    }
    return best;
  }

  private static double costOf(double[][] cost, int[] nodes) {
    double sum = 0;
    for (int i = 1; i < nodes.length; i++) {
      assertTrue(nodes[i] > nodes[i - 1]);
      sum += cost[nodes[i - 1]][nodes[i]];
    }
    return sum;
  }

  @Test
  void keepsEveryNodeWhenThereAreAsManySteps() {
    assertArrayEquals(new int[] {0, 1, 2, 3}, KeptNodes.choose(new double[4][4], 3));
  }

  @Test
  void refusesMoreStepsThanThereAreIntervals() {
    assertThrows(IllegalArgumentException.class, () -> KeptNodes.choose(new double[4][4], 4));
    assertThrows(IllegalArgumentException.class, () -> KeptNodes.choose(new double[4][4], 0));
  }
}
