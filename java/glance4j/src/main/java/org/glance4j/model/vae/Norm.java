package org.glance4j.model.vae;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Conv2d;

/** A norm of a picture's channels. */
interface Norm {
  /** The norm, for a convolution that applies it. */
  Conv2d.Norm parameters();

  /**
   * The norm by itself.
   *
   * @param x shape [batch, channels, height, width]; stays as it is
   * @return a new tensor in the caller's scope
   */
  Tensor norm(Tensor x);
}
