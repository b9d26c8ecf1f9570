package org.glance4j.evaluate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import org.junit.jupiter.api.Test;

class EvaluationTableTest {
  @Test
  void theTableNamesSchedulesAndFilesBriefly() {
    assertEquals("glance-3-5, CFG 1", sampling("schedule=glance-3-5"));
    assertEquals(
        "custom, 3 steps, CFG 2.5",
        sampling("schedule=\"custom:[slow 1.0, slow 0.9, fast 0.5]\" cfg=2.5"));
    assertEquals(
        "glance, CFG 1, s.st + f.st at 0.5",
        sampling("schedule=glance slow=a/s.st fast=b/f.st scale=0.5"));
    assertEquals(
        "glance, CFG 1, s.st for both phases", sampling("schedule=glance slow=s.st fast=s.st"));
  }

  private static String sampling(String keys) {
    return EvaluationTable.sampling(Method.parse("a: " + keys, Map.of()));
  }

  @Test
  void differencesArePaired() {
    MethodResult.Difference difference = MethodResult.Difference.of(new double[] {1, 2, 3, 6});
    assertEquals(3, difference.mean());
    assertEquals(Math.sqrt(14 / 3.0 / 4), difference.error(), 1e-12);
    assertTrue(Double.isNaN(MethodResult.Difference.of(new double[] {1}).error()));
  }
}
