package org.glance4j.evaluate;

import org.glance4j.GeneratedImage;
import org.glance4j.Latents;

/** How close two pictures are. Thread-safe. */
public final class Similarity {
  /** What {@link #psnr} gives at most, in dB. */
  public static final double MOST_DECIBELS = 100;

  private static final int CHANNELS = 3;
  private static final double WHITE = 255;

  private static final int RADIUS = 5;
  private static final double[] WINDOW = gaussian(1.5);
  private static final double C1 = square(0.01 * WHITE);
  private static final double C2 = square(0.03 * WHITE);

  private Similarity() {}

  /**
   * The relative error of latents, {@code ||x - reference|| / ||reference||}: 0 if they are equal.
   */
  public static double latentError(Latents x, Latents reference) {
    float[] a = x.values();
    float[] b = reference.values();
    if (a.length != b.length) {
      throw new IllegalArgumentException(
          "latents of %d and %d values cannot be compared".formatted(a.length, b.length));
    }
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < a.length; i++) {
      difference += square((double) a[i] - b[i]);
      norm += square(b[i]);
    }
    return Math.sqrt(difference / norm);
  }

  /**
   * The peak signal-to-noise ratio in dB over all pixels and channels of 8 bits: {@code 10
   * log10(255^2 / mean squared difference)}, but at most {@link #MOST_DECIBELS}, which is also that
   * of equal pictures: so a mean over pictures stays a number.
   */
  public static double psnr(GeneratedImage a, GeneratedImage b) {
    requireOneSize(a, b);
    return psnr(a.rgb(), b.rgb());
  }

  static double psnr(byte[] a, byte[] b) {
    double squares = 0;
    for (int i = 0; i < a.length; i++) {
      squares += square((a[i] & 0xff) - (b[i] & 0xff));
    }
    return Math.min(MOST_DECIBELS, 10 * Math.log10(WHITE * WHITE * a.length / squares));
  }

  /**
   * The structural similarity of Wang, Bovik, Sheikh and Simoncelli (2004): 1 for equal pictures.
   * Of the luma {@code 0.299 R + 0.587 G + 0.114 B}, with an 11 x 11 Gaussian window of sigma 1.5,
   * K1 = 0.01, K2 = 0.03, range 255; the mean over all places where the window lies wholly in the
   * picture.
   *
   * @throws IllegalArgumentException if a side is below 11 pixels
   */
  public static double ssim(GeneratedImage a, GeneratedImage b) {
    requireOneSize(a, b);
    return ssim(luma(a.rgb()), luma(b.rgb()), a.width());
  }

  /** Of two planes of rows of {@code width} values, 0..255. */
  static double ssim(double[] a, double[] b, int width) {
    int height = a.length / width;
    if (Math.min(width, height) < WINDOW.length) {
      throw new IllegalArgumentException(
          "SSIM needs pictures of at least 11 x 11 pixels, not %d x %d".formatted(width, height));
    }
    double[] meanA = filtered(a, width);
    double[] meanB = filtered(b, width);
    double[] squaresA = filtered(product(a, a), width);
    double[] squaresB = filtered(product(b, b), width);
    double[] products = filtered(product(a, b), width);
    double sum = 0;
    for (int i = 0; i < meanA.length; i++) {
      double mean = meanA[i] * meanB[i];
      double squares = square(meanA[i]) + square(meanB[i]);
      double variances = squaresA[i] + squaresB[i] - squares;
      double covariance = products[i] - mean;
      sum += (2 * mean + C1) * (2 * covariance + C2) / ((squares + C1) * (variances + C2));
    }
    return sum / meanA.length;
  }

  static double[] luma(byte[] rgb) {
    double[] luma = new double[rgb.length / CHANNELS];
    for (int i = 0; i < luma.length; i++) {
      int at = CHANNELS * i;
      luma[i] =
          0.299 * (rgb[at] & 0xff) + 0.587 * (rgb[at + 1] & 0xff) + 0.114 * (rgb[at + 2] & 0xff);
    }
    return luma;
  }

  /** The window's weighted means: first along rows, then along columns. */
  private static double[] filtered(double[] plane, int width) {
    int height = plane.length / width;
    int left = width - 2 * RADIUS;
    double[] rows = new double[height * left];
    for (int i = 0; i < rows.length; i++) {
      for (int k = 0; k < WINDOW.length; k++) {
        rows[i] += WINDOW[k] * plane[i / left * width + i % left + k];
      }
    }
    double[] means = new double[(height - 2 * RADIUS) * left];
    for (int i = 0; i < means.length; i++) {
      for (int k = 0; k < WINDOW.length; k++) {
        means[i] += WINDOW[k] * rows[i + k * left];
      }
    }
    return means;
  }

  private static double[] gaussian(double sigma) {
    double[] weights = new double[2 * RADIUS + 1];
    double sum = 0;
    for (int i = 0; i < weights.length; i++) {
      weights[i] = Math.exp(-square((i - RADIUS) / sigma) / 2);
      sum += weights[i];
    }
    for (int i = 0; i < weights.length; i++) {
      weights[i] /= sum;
    }
    return weights;
  }

  private static double[] product(double[] a, double[] b) {
    double[] product = new double[a.length];
    for (int i = 0; i < product.length; i++) {
      product[i] = a[i] * b[i];
    }
    return product;
  }

  private static double square(double value) {
    return value * value;
  }

  private static void requireOneSize(GeneratedImage a, GeneratedImage b) {
    if (a.width() != b.width() || a.height() != b.height()) {
      throw new IllegalArgumentException(
          "pictures of %d x %d and %d x %d pixels cannot be compared"
              .formatted(a.width(), a.height(), b.width(), b.height()));
    }
  }
}
