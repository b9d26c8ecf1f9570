package org.glance4j.model.vae;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Probe;
import org.glance4j.model.TensorScope;
import org.jspecify.annotations.Nullable;

/** {@code x + conv2(silu(norm2(conv1(silu(norm1(x))))))}, with x projected if the width changes. */
final class ResnetBlock implements Layer {
  private final Norm norm1;
  private final Conv conv1;
  private final Norm norm2;
  private final Conv conv2;
  private final @Nullable Conv shortcut;

  /**
   * @param shortcut projects x; null where the width stays
   */
  ResnetBlock(Norm norm1, Conv conv1, Norm norm2, Conv conv2, @Nullable Conv shortcut) {
    this.norm1 = norm1;
    this.conv1 = conv1;
    this.norm2 = norm2;
    this.conv2 = conv2;
    this.shortcut = shortcut;
  }

  @Override
  public Tensor forward(Tensor x, Probe probe) {
    try (TensorScope scope = new TensorScope()) {
      Tensor hidden = half(norm1, conv1, x, probe);
      Tensor update = half(norm2, conv2, hidden, probe);
      hidden.close();
      return scope.release(update.add_(shortcut == null ? x : shortcut.forward(x)));
    }
  }

  private static Tensor half(Norm norm, Conv conv, Tensor x, Probe probe) {
    try (TensorScope scope = new TensorScope()) {
      return scope.release(conv.forward(norm.forward(x, probe)));
    }
  }
}
