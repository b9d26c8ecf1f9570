package org.glance4j.model.dit;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.ModulatedNorm;

/**
 * What adaLN-zero (DiT, arXiv 2212.09748) makes of one conditioning vector for one layer: the layer
 * norm's shift and scale, and the gate of what the layer adds to the hidden state. Each has shape
 * [batch, 1, width].
 */
public record AdaLn(Tensor shift, Tensor scale, Tensor gate) {
  private static final double EPSILON = 1e-6;

  /** {@code layerNorm(x) * (1 + scale) + shift}; x has shape [batch, tokens, width]. */
  public Tensor modulate(ModulatedNorm norm, Tensor x) {
    return modulate(norm, x, shift, scale);
  }

  /** {@code layerNorm(x) * (1 + scale) + shift}, where there is no gate. */
  static Tensor modulate(ModulatedNorm norm, Tensor x, Tensor shift, Tensor scale) {
    return norm.forward(x, ModulatedNorm.Norm.LAYER, EPSILON, scale, shift);
  }
}
