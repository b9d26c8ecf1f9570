package org.glance4j.lora;

import org.bytedeco.pytorch.Tensor;

/**
 * The two matrices an adapter adds to one linear: {@code y += scale * (x A^T) B^T}.
 *
 * @param down A, shape [rank, inFeatures]
 * @param up B, shape [outFeatures, rank]
 * @param scale alpha / rank
 */
public record LoraPair(Tensor down, Tensor up, double scale) {
  /** The number of rows of A. */
  public long rank() {
    return down.size(0);
  }

  /** True if either matrix is being trained. */
  public boolean requiresGradient() {
    return down.requires_grad() || up.requires_grad();
  }
}
