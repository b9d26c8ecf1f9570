package org.glance4j.benchmarks.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.glance4j.DType;
import org.junit.jupiter.api.Test;

class TargetsTest {
  private static Targets.Line line(Results results, String part) {
    List<Targets.Line> found =
        Targets.of(results).stream().filter(line -> line.what().contains(part)).toList();
    assertEquals(1, found.size(), part);
    return found.get(0);
  }

  @Test
  void everyCaseMustBeWithinTheBound() {
    Results results =
        new TestResults()
            .loraLarge(DType.F32, 16, 1.04, 1)
            .loraLarge(DType.F32, 32, 1.06, 1)
            .loraLarge(DType.BF16, 16, 1, 1)
            .build();
    Targets.Line f32 = line(results, "lora_linear f32: fused / plain linear without adapter, 1024");
    assertEquals(1.05, f32.asked());
    assertEquals(1, f32.within());
    assertFalse(f32.met());
    assertEquals(1.06, f32.values().get(f32.worst()), 1e-9);
    assertTrue(f32.labels().get(f32.worst()).endsWith("r=32"));
    assertTrue(line(results, "lora_linear bf16: fused / plain linear without adapter, 1024").met());
  }

  @Test
  void bundledShapesHaveBoundsOfTheirOwn() {
    Results results =
        new TestResults()
            .loraBundled("a", DType.BF16, 1, 2, 1.5)
            .loraBundled("b", DType.BF16, 1, 1.1, 1.3)
            .build();
    Targets.Line plain = line(results, "bf16: fused / plain linear without adapter, bundled");
    assertEquals(0.8, plain.asked());
    assertEquals(1 / 1.1, plain.values().get(plain.worst()), 1e-9);
    assertEquals(Math.sqrt(1 / 2.2), plain.mean(), 1e-9);
    Targets.Line unfused = line(results, "bf16: unfused / fused, bundled");
    assertEquals(1.4, unfused.asked());
    assertEquals("b r=16", unfused.labels().get(unfused.worst()));
    assertEquals(1, unfused.within());
  }

  @Test
  void otherLines() {
    Results results = new TestResults().flowStep(DType.F32, 1, 4.5).build();
    assertTrue(line(results, "flow_step f32").met());
    assertEquals(0.9, line(results, "matmul bf16").values().get(0), 1e-9);
    assertTrue(line(results, "ours f32").met());
    assertFalse(line(results, "ours bf16").met(), "2.0 of the 2.2 asked");
  }

  @Test
  void whatWasNotMeasuredIsNotMet() {
    Targets.Line line = line(new TestResults().build(), "flow_step bf16");
    assertFalse(line.met());
    assertEquals(-1, line.worst());
  }
}
