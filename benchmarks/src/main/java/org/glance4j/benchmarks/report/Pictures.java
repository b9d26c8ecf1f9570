package org.glance4j.benchmarks.report;

/** How far two pictures are apart. */
final class Pictures {
  private static final double WHITE = 255;

  private Pictures() {}

  /** The largest difference of one byte. */
  static int levels(byte[] a, byte[] b) {
    requireOneSize(a, b);
    int worst = 0;
    for (int i = 0; i < a.length; i++) {
      worst = Math.max(worst, Math.abs((a[i] & 0xff) - (b[i] & 0xff)));
    }
    return worst;
  }

  /** Peak signal-to-noise ratio in dB; infinite for equal pictures. */
  static double psnr(byte[] a, byte[] b) {
    requireOneSize(a, b);
    double squares = 0;
    for (int i = 0; i < a.length; i++) {
      double difference = (a[i] & 0xff) - (b[i] & 0xff);
      squares += difference * difference;
    }
    return 10 * Math.log10(WHITE * WHITE * a.length / squares);
  }

  private static void requireOneSize(byte[] a, byte[] b) {
    if (a.length != b.length || a.length == 0) {
      throw new IllegalArgumentException("pictures of " + a.length + " and " + b.length + " bytes");
    }
  }
}
