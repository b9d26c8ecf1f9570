package org.glance4j.evaluate;

import org.jspecify.annotations.Nullable;

/**
 * One picture, compared to the reference's of the same prompt and seed.
 *
 * @param latentError see {@link Similarity#latentError}
 * @param psnr in dB, see {@link Similarity#psnr}
 * @param ssim see {@link Similarity#ssim}
 * @param seconds the generation's, without text encoding
 * @param nearest the name of the nearest picture of the set, or null if there is no set or the
 *     prompt has no picture in it
 */
public record PictureResult(
    String prompt,
    long seed,
    double latentError,
    double psnr,
    double ssim,
    double seconds,
    @Nullable String nearest) {
  /** True if the nearest picture is the prompt's own. */
  public boolean isRetrieved() {
    return prompt.equals(nearest);
  }
}
