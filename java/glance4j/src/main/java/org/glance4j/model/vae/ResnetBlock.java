package org.glance4j.model.vae;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Probe;
import org.glance4j.model.TensorScope;
import org.jspecify.annotations.Nullable;

/**
 * {@code x + conv2(conv1(x))}, with x projected if the width changes.
 *
 * @param conv1 with its norm and SiLU
 * @param conv2 with its norm and SiLU
 * @param shortcut projects x; null where the width stays
 */
record ResnetBlock(Conv conv1, Conv conv2, @Nullable Conv shortcut) implements Layer {
  @Override
  public Tensor forward(Tensor x, Probe probe) {
    try (TensorScope scope = new TensorScope()) {
      Tensor hidden = conv1.forward(x, probe);
      Tensor before = shortcut == null ? x : shortcut.forward(x, probe);
      return scope.release(conv2.forward(hidden, before));
    }
  }
}
