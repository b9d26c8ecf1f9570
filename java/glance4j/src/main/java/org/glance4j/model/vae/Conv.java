package org.glance4j.model.vae;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Conv2d;
import org.glance4j.model.Probe;
import org.jspecify.annotations.Nullable;

/**
 * A convolution that keeps the size or doubles it, with the norm and SiLU before it.
 *
 * @param name the reference implementation's
 */
record Conv(String name, Conv2d operation) implements Layer {
  /**
   * Convolves and adds.
   *
   * @param residual of the result's shape, or null
   */
  Tensor forward(Tensor x, @Nullable Tensor residual) {
    return operation.forward(x, residual);
  }

  @Override
  public Tensor forward(Tensor x, Probe probe) {
    Tensor y = forward(x, (Tensor) null);
    probe.see(name, "", () -> y);
    return y;
  }
}
