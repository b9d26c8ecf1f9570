package org.glance4j.lora;

/**
 * The size of one linear of a model, whose weight is [outFeatures, inFeatures].
 *
 * @param inFeatures width of its input, at least 1
 * @param outFeatures width of its output, at least 1
 */
public record LinearShape(long inFeatures, long outFeatures) {
  /** Checks both widths. */
  public LinearShape {
    if (inFeatures < 1 || outFeatures < 1) {
      throw new IllegalArgumentException(
          "a linear of " + inFeatures + " -> " + outFeatures + "; both must be at least 1");
    }
  }

  /** The larger width. */
  public long widest() {
    return Math.max(inFeatures, outFeatures);
  }
}
