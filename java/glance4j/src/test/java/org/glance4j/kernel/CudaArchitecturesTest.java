package org.glance4j.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CudaArchitecturesTest {
  @ParameterizedTest
  @CsvSource({
    // Machine code runs on its own generation, from its minor version on.
    "'80-real,90a-real', 8, 0, true",
    "'80-real,90a-real', 8, 6, true",
    "'80-real,90a-real', 8, 9, true",
    "'80-real,90a-real', 7, 5, false",
    "'86-real', 8, 0, false",
    // With an a it runs on that version only.
    "'80-real,90a-real', 9, 0, true",
    "'80-real,90a-real', 10, 0, false",
    "'90a-real', 9, 1, false",
    // PTX is compiled on whatever is later.
    "'80-real,90a-real,80-virtual', 12, 0, true",
    "'80-virtual', 7, 5, false",
    "'80', 10, 3, true",
    "'120', 12, 1, true",
    "'90a', 10, 0, false",
    "'100f-real', 10, 3, true",
    "'100f', 12, 0, false",
    "'80-real;90a-real', 9, 0, true",
    "'', 8, 0, false",
    "'native', 8, 0, false"
  })
  void coversWhatTheCodeRunsOn(String architectures, int major, int minor, boolean covered) {
    assertEquals(covered, CudaArchitectures.cover(architectures, major, minor));
  }
}
