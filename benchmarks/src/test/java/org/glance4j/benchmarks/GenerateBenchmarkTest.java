package org.glance4j.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import org.glance4j.DType;
import org.glance4j.kernel.Backend;
import org.junit.jupiter.api.Test;

class GenerateBenchmarkTest {
  /** What the prompt cache holds; with fewer prompts the benchmark would measure the cache. */
  private static final int CACHED_PROMPTS = 16;

  @Test
  void checksItselfAndGenerates() {
    GenerateBenchmark benchmark = new GenerateBenchmark();
    benchmark.steps = 2;
    benchmark.cfg = 3.5;
    benchmark.threads = 1;
    benchmark.dtype = DType.F32;
    benchmark.backend = Backend.AUTO;
    benchmark.load();
    assertEquals(4, benchmark.generate().stats().evaluations());
    benchmark.close();
  }

  @Test
  void promptsOutnumberTheCache() {
    Prompts prompts = new Prompts();
    Set<String> seen = new HashSet<>();
    for (int i = 0; i <= CACHED_PROMPTS; i++) {
      assertTrue(seen.add(prompts.next()));
    }
  }
}
