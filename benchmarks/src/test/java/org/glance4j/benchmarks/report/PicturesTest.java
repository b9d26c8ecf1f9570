package org.glance4j.benchmarks.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class PicturesTest {
  @Test
  void bytesAreUnsigned() {
    assertEquals(255, Pictures.levels(new byte[] {0, 7}, new byte[] {-1, 7}));
    assertEquals(1, Pictures.levels(new byte[] {127}, new byte[] {-128}));
  }

  @Test
  void psnr() {
    // One level everywhere: 20 log10(255).
    assertEquals(48.13, Pictures.psnr(new byte[] {1, 2, 3}, new byte[] {2, 1, 4}), 0.01);
    assertEquals(Double.POSITIVE_INFINITY, Pictures.psnr(new byte[] {5, -5}, new byte[] {5, -5}));
  }

  @Test
  void refusesPicturesOfTwoSizes() {
    assertThrows(IllegalArgumentException.class, () -> Pictures.levels(new byte[1], new byte[2]));
  }
}
