package org.glance4j.evaluate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.glance4j.Latents;
import org.junit.jupiter.api.Test;

class SimilarityTest {
  private static final int WIDTH = 17;
  private static final int HEIGHT = 24;

  @FunctionalInterface
  private interface Pixel {
    int value(int row, int column, int channel);
  }

  private static byte[] picture(Pixel pixel) {
    byte[] rgb = new byte[HEIGHT * WIDTH * 3];
    for (int i = 0; i < rgb.length; i++) {
      rgb[i] = (byte) pixel.value(i / 3 / WIDTH, i / 3 % WIDTH, i % 3);
    }
    return rgb;
  }

  private static int busy(int row, int column, int channel) {
    return (row * row * 3 + column * column * 5 + row * column + channel * 53) % 256;
  }

  private static int noisy(int row, int column, int channel) {
    int noise = (row * 7 + column * 13 + channel * 5) % 41 - 20;
    return Math.min(255, Math.max(0, busy(row, column, channel) + noise));
  }

  private static int smooth(int row, int column, int channel) {
    return row * 4 + column * 3 + channel * 20;
  }

  private static int checked(int row, int column, int channel) {
    return smooth(row, column, channel) + ((row / 4 + column / 4) % 2 == 1 ? 9 : 0);
  }

  private static final byte[] BUSY = picture(SimilarityTest::busy);
  private static final byte[] NOISY = picture(SimilarityTest::noisy);
  private static final byte[] SMOOTH = picture(SimilarityTest::smooth);
  private static final byte[] CHECKED = picture(SimilarityTest::checked);

  private static double ssim(byte[] a, byte[] b) {
    return Similarity.ssim(Similarity.luma(a), Similarity.luma(b), WIDTH);
  }

  @Test
  void ssimIsThatOfNumpyAndScipy() {
    assertEquals(0.9830817431403707, ssim(BUSY, NOISY), 1e-12);
    assertEquals(0.8969362517894779, ssim(SMOOTH, CHECKED), 1e-12);
    assertEquals(0.02400028767667551, ssim(BUSY, SMOOTH), 1e-12);
    assertEquals(1, ssim(BUSY, BUSY), 1e-12);
  }

  @Test
  void ssimNeedsAWindow() {
    assertThrows(
        IllegalArgumentException.class,
        () -> Similarity.ssim(new double[110], new double[110], 11));
    assertEquals(1, Similarity.ssim(new double[121], new double[121], 11), 1e-12);
  }

  @Test
  void psnrIsThatOfNumpy() {
    assertEquals(26.856050175988763, Similarity.psnr(BUSY, NOISY), 1e-9);
    assertEquals(32.05625337653242, Similarity.psnr(CHECKED, SMOOTH), 1e-9);
    assertEquals(9.266469629590128, Similarity.psnr(BUSY, SMOOTH), 1e-9);
    assertEquals(0, Similarity.psnr(new byte[] {0}, new byte[] {(byte) 255}), 1e-9);
    assertEquals(100, Similarity.psnr(BUSY, BUSY));
  }

  @Test
  void latentErrorIsRelative() {
    Latents reference = new Latents(1, 2, new float[] {3, -4});
    assertEquals(0.2, Similarity.latentError(new Latents(1, 2, new float[] {3, -3}), reference));
    assertEquals(1, Similarity.latentError(new Latents(1, 2, new float[2]), reference));
    assertEquals(0, Similarity.latentError(reference, reference));
    assertThrows(
        IllegalArgumentException.class,
        () -> Similarity.latentError(new Latents(1, 1, new float[1]), reference));
  }
}
