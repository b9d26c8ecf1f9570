package org.glance4j.model.vae;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Probe;

/** One step of the encoder or decoder. */
@FunctionalInterface
interface Layer {
  /**
   * Applies the layer.
   *
   * @param x shape [batch, channels, height, width]; stays as it is
   * @return a new tensor in the caller's scope
   */
  Tensor forward(Tensor x, Probe probe);
}
