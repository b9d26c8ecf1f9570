package org.glance4j.benchmarks.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class SpreadTest {
  @Test
  void quartilesOfUnsortedValues() {
    assertEquals(new Spread(2, 3, 4), Spread.of(new double[] {5, 1, 4, 2, 3}));
    assertEquals(new Spread(1.75, 2.5, 3.25), Spread.of(new double[] {4, 3, 2, 1}));
    assertEquals(new Spread(7, 7, 7), Spread.of(new double[] {7}));
  }

  @Test
  void ratioIsOfMediansAndItsSpreadOfRounds() {
    Spread ratio = Spread.ratio(new double[] {2, 4, 60}, new double[] {1, 1, 2});
    assertEquals(4, ratio.median());
    assertEquals(3, ratio.lower());
    assertEquals(17, ratio.upper());
  }

  @Test
  void refusesNothingAndUnequalRounds() {
    assertThrows(IllegalArgumentException.class, () -> Spread.of(new double[0]));
    assertThrows(IllegalArgumentException.class, () -> Spread.ratio(new double[2], new double[3]));
  }
}
