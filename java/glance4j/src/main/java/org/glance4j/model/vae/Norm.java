package org.glance4j.model.vae;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.model.Probe;

/** A norm. As a layer, it is followed by SiLU, as everywhere but in the attention. */
interface Norm extends Layer {
  /**
   * The norm alone.
   *
   * @param x shape [batch, channels, height, width]; stays as it is
   * @return a new tensor in the caller's scope
   */
  Tensor norm(Tensor x);

  @Override
  default Tensor forward(Tensor x, Probe probe) {
    return torch.silu_(norm(x));
  }
}
