package org.glance4j.model.vae;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Probe;
import org.glance4j.model.TensorScope;
import org.glance4j.weights.Weights;
import org.jspecify.annotations.Nullable;

/** {@code x + conv2(silu(norm2(conv1(silu(norm1(x))))))}, with x projected if the width changes. */
final class ResnetBlock implements Layer {
  private final GroupNorm norm1;
  private final Conv conv1;
  private final GroupNorm norm2;
  private final Conv conv2;
  private final @Nullable Conv shortcut;

  private ResnetBlock(
      GroupNorm norm1, Conv conv1, GroupNorm norm2, Conv conv2, @Nullable Conv shortcut) {
    this.norm1 = norm1;
    this.conv1 = conv1;
    this.norm2 = norm2;
    this.conv2 = conv2;
    this.shortcut = shortcut;
  }

  static ResnetBlock take(Weights weights, String name, int in, int out, int groups) {
    return new ResnetBlock(
        GroupNorm.take(weights, name + ".norm1", in, groups),
        Conv.same(weights, name + ".conv1", in, out, 3),
        GroupNorm.take(weights, name + ".norm2", out, groups),
        Conv.same(weights, name + ".conv2", out, out, 3),
        in == out ? null : Conv.same(weights, name + ".conv_shortcut", in, out, 1));
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

  private static Tensor half(GroupNorm norm, Conv conv, Tensor x, Probe probe) {
    try (TensorScope scope = new TensorScope()) {
      return scope.release(conv.forward(norm.forward(x, probe)));
    }
  }
}
