package org.glance4j.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Random;
import org.junit.jupiter.api.Test;

class PhaseSplitTest {
  /** Nodes at 1, 0.9, ...: value i is that between 1 - i / 10 and the next. */
  private static Curvature curvature(double... values) {
    float[] nodes = new float[values.length + 1];
    for (int i = 0; i < nodes.length; i++) {
      nodes[i] = 1 - i / 10f;
    }
    return Curvature.of(nodes, values);
  }

  @Test
  void findsAStepInNoise() {
    for (int change = 1; change < 9; change++) {
      Random random = new Random(change);
      double[] values = new double[9];
      for (int i = 0; i < values.length; i++) {
        values[i] = (i < change ? 5 : 2) + 0.4 * random.nextDouble();
      }
      PhaseSplit split = PhaseSplit.of(curvature(values));
      assertEquals(1 - change / 10f, split.sigma(), 1e-6, "change at " + change);
      assertEquals(5.2, split.slowMean(), 0.2);
      assertEquals(2.2, split.fastMean(), 0.2);
    }
  }

  @Test
  void aRiseAtTheEndIsNotTheChange() {
    PhaseSplit split = PhaseSplit.of(curvature(6, 6, 2, 2, 2, 2, 2, 2, 9));
    assertEquals(0.8, split.sigma(), 1e-6);
  }

  @Test
  void whereItOnlyRisesTheChangeIsTheRise() {
    PhaseSplit split = PhaseSplit.of(curvature(1, 1.1, 1.2, 4, 4.1, 4.2));
    assertEquals(0.7, split.sigma(), 1e-6);
  }

  @Test
  void everyPhaseHasAStep() {
    PhaseSplit middle = new PhaseSplit(0.5, 2, 1);
    assertEquals(2, middle.slowSteps(new float[] {1, 0.6f, 0.5f, 0.2f, 0}));
    assertEquals(1, middle.slowSteps(new float[] {1, 0.9f, 0}));
    assertEquals(1, new PhaseSplit(1, 2, 1).slowSteps(new float[] {1, 0.9f, 0.8f, 0}));
    assertEquals(2, new PhaseSplit(0.01, 2, 1).slowSteps(new float[] {1, 0.9f, 0.8f, 0}));
  }

  @Test
  void oneIntervalHasNoChange() {
    assertThrows(IllegalArgumentException.class, () -> PhaseSplit.of(curvature(1)));
    assertThrows(IllegalArgumentException.class, () -> Curvature.of(new float[2], new double[2]));
  }

  @Test
  void curvatureAtASigmaIsThatOfItsInterval() {
    Curvature curvature = curvature(1, 2, 3);
    assertEquals(1, curvature.at(1));
    assertEquals(1, curvature.at(0.95));
    assertEquals(2, curvature.at(0.85));
    assertEquals(3, curvature.at(0.1));
  }
}
