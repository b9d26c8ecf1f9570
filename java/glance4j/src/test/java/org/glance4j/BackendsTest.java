package org.glance4j;

import static org.glance4j.reference.ErrorAssert.assertError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import org.glance4j.kernel.Backend;
import org.glance4j.kernel.TestBackends;
import org.glance4j.schedule.ScheduleSpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Whole pictures of the bundled model: one backend and type beside another. */
class BackendsTest {
  private static final int LEVELS = 2;
  private static final double LEAST_PSNR = 35;
  private static final int MOST_LEVEL = 255;

  private static ImageRequest request(double cfg) {
    return ImageRequest.builder("red apple")
        .schedule(ScheduleSpec.glance())
        .cfg(cfg)
        .seed(3)
        .build();
  }

  private static GeneratedImage draw(GlanceOptions.Builder options, double cfg) {
    try (Glance glance = Glance.load(TestModels.TINY, options.build())) {
      return glance.generate(request(cfg)).image();
    }
  }

  @Test
  void backendsDrawTheSamePicture() {
    for (double cfg : new double[] {1, 3.5}) {
      byte[] torchs = draw(GlanceOptions.builder().backend(Backend.TORCH), cfg).rgb();
      for (Backend backend : TestBackends.all()) {
        byte[] kernels = draw(GlanceOptions.builder().backend(backend), cfg).rgb();
        int worst = 0;
        for (int i = 0; i < torchs.length; i++) {
          worst = Math.max(worst, Math.abs((torchs[i] & 0xff) - (kernels[i] & 0xff)));
        }
        assertTrue(worst <= LEVELS, backend + ", cfg " + cfg + ": " + worst + " levels apart");
      }
    }
  }

  @Test
  void recordedStepsGiveTheSameBits() {
    assumeTrue(TestBackends.whyNoCuda() == null, TestBackends.whyNoCuda());
    GlanceOptions.Builder options = GlanceOptions.builder().backend(Backend.CUDA);
    for (double cfg : new double[] {1, 3.5}) {
      float[] direct = draw(options, cfg).latents().values();
      System.setProperty(LoadedModel.CUDA_GRAPH, "true");
      try {
        assertArrayEquals(direct, draw(options, cfg).latents().values());
      } finally {
        System.clearProperty(LoadedModel.CUDA_GRAPH);
      }
    }
  }

  @Test
  void cudaIsNeverReplacedSilently() {
    assumeTrue(TestBackends.whyNoCuda() != null, "there is a CUDA device");
    assertError(
        NativeLoadException.class,
        () -> draw(GlanceOptions.builder().backend(Backend.CUDA), 1),
        "LibTorch has no CUDA device");
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void bfloat16DrawsNearlyTheSamePicture(Backend backend) {
    byte[] exact = draw(GlanceOptions.builder().backend(backend), 3.5).rgb();
    GlanceOptions.Builder half = GlanceOptions.builder().backend(backend).dtype(DType.BF16);
    double psnr = psnr(exact, draw(half, 3.5).rgb());
    assertTrue(psnr >= LEAST_PSNR, "PSNR " + psnr);
  }

  private static double psnr(byte[] expected, byte[] actual) {
    double squares = 0;
    for (int i = 0; i < expected.length; i++) {
      double difference = (expected[i] & 0xff) - (actual[i] & 0xff);
      squares += difference * difference;
    }
    double meanSquare = Math.max(squares / expected.length, Double.MIN_NORMAL);
    return 10 * Math.log10(MOST_LEVEL * MOST_LEVEL / meanSquare);
  }
}
