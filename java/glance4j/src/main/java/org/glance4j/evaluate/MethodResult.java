package org.glance4j.evaluate;

import java.util.List;
import java.util.OptionalDouble;
import java.util.function.ToDoubleFunction;
import org.glance4j.GeneratedImage;

/**
 * How one method did.
 *
 * @param evaluations transformer evaluations of one picture
 * @param pictures by prompt, then by seed; at least one
 * @param samples the pictures of the first prompts with the first seed
 */
public record MethodResult(
    Method method, int evaluations, List<PictureResult> pictures, List<GeneratedImage> samples) {
  /** Copies the lists. */
  public MethodResult {
    pictures = List.copyOf(pictures);
    samples = List.copyOf(samples);
    if (pictures.isEmpty()) {
      throw new IllegalArgumentException(method.name() + " has no pictures; it needs at least 1");
    }
  }

  /** The mean of {@link PictureResult#latentError()}. */
  public double latentError() {
    return mean(PictureResult::latentError);
  }

  /** The mean of {@link PictureResult#psnr()}, in dB. */
  public double psnr() {
    return mean(PictureResult::psnr);
  }

  /** The mean of {@link PictureResult#ssim()}. */
  public double ssim() {
    return mean(PictureResult::ssim);
  }

  /** The median of {@link PictureResult#seconds()}. */
  public double medianSeconds() {
    double[] sorted = pictures.stream().mapToDouble(PictureResult::seconds).sorted().toArray();
    int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  /**
   * Of how many pictures the nearest of the set is the prompt's own: 0..1. Only prompts that have a
   * picture there count; empty without a set.
   */
  public OptionalDouble retrieval() {
    return pictures.stream()
        .filter(picture -> picture.nearest() != null)
        .mapToDouble(picture -> picture.isRetrieved() ? 1 : 0)
        .average();
  }

  /**
   * How much higher the PSNR is than another method's on the same pictures.
   *
   * @throws IllegalArgumentException if the pictures are not the same ones
   */
  public Difference psnrAbove(MethodResult other) {
    double[] differences = new double[pictures.size()];
    for (int i = 0; i < differences.length; i++) {
      PictureResult mine = pictures.get(i);
      PictureResult theirs = i < other.pictures.size() ? other.pictures.get(i) : mine;
      if (other.pictures.size() != differences.length
          || !mine.prompt().equals(theirs.prompt())
          || mine.seed() != theirs.seed()) {
        throw new IllegalArgumentException(
            method.name() + " and " + other.method.name() + " drew different pictures");
      }
      differences[i] = mine.psnr() - theirs.psnr();
    }
    return Difference.of(differences);
  }

  private double mean(ToDoubleFunction<PictureResult> value) {
    return pictures.stream().mapToDouble(value).average().orElseThrow();
  }

  /**
   * A mean of differences over pictures.
   *
   * @param error its standard error; NaN of one picture
   */
  public record Difference(double mean, double error) {
    static Difference of(double[] differences) {
      int n = differences.length;
      double mean = 0;
      for (double difference : differences) {
        mean += difference / n;
      }
      double squares = 0;
      for (double difference : differences) {
        squares += (difference - mean) * (difference - mean);
      }
      return new Difference(mean, Math.sqrt(squares / (n - 1) / n));
    }
  }
}
