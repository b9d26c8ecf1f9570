package org.glance4j.model.flux;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;

/**
 * What adaLN-zero (DiT, arXiv 2212.09748) makes of one conditioning vector for one layer: the layer
 * norm's shift and scale, and the gate of what the layer adds to the hidden state. Each has shape
 * [batch, 1, width].
 *
 * @param scale 1 + the linear's output
 */
record AdaLn(Tensor shift, Tensor scale, Tensor gate) {
  private static final double EPSILON = 1e-6;

  /** {@code layerNorm(x) * scale + shift}; x has shape [batch, tokens, width]. */
  Tensor modulate(Tensor x) {
    return modulate(x, shift, scale);
  }

  /** {@code layerNorm(x) * scale + shift}, where there is no gate. */
  static Tensor modulate(Tensor x, Tensor shift, Tensor scale) {
    long[] lastAxis = {x.size(-1)};
    TensorOptional none = new TensorOptional();
    Tensor normed = torch.layer_norm(x, lastAxis, none, none, EPSILON, false);
    return torch.addcmul(shift, normed, scale);
  }

  /** What the linear gave: scale - 1. */
  Tensor rawScale() {
    return scale.sub(new Scalar(1));
  }

  /** {@code x + gate * update}. */
  Tensor residual(Tensor x, Tensor update) {
    return torch.addcmul(x, gate, update);
  }
}
