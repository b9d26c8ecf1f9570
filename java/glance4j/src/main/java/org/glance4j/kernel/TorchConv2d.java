package org.glance4j.kernel;

import java.util.Objects;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/** {@link Conv2d} in LibTorch's operations. */
final class TorchConv2d {
  private static final long[] ONE = {1, 1};

  private TorchConv2d() {}

  static Tensor forward(Conv2d conv, Tensor x, @Nullable Tensor residual) {
    try (PointerScope scope = new PointerScope()) {
      Tensor u = Conv2d.channelsLast(x);
      if (conv.norm != null) {
        u = norm(conv.norm, u);
      }
      if (conv.silu) {
        u = torch.silu(u);
      }
      if (conv.upscale == Conv2d.Upscale.TWICE) {
        long[] size = {2 * u.size(2), 2 * u.size(3)};
        u = torch.upsample_nearest2d(u, size, new DoubleOptional(), new DoubleOptional());
      }
      long[] padding = {conv.kernel / 2, conv.kernel / 2};
      Tensor weight = Objects.requireNonNull(conv.weight);
      Tensor y = torch.conv2d(u, weight, optional(conv.bias), ONE, padding, ONE, 1);
      return (residual == null ? y : y.add(residual)).retainReference();
    }
  }

  private static Tensor norm(Conv2d.Norm norm, Tensor x) {
    if (norm.kind() == Conv2d.Norm.Kind.GROUP) {
      return torch.group_norm(
          x, norm.groups(), optional(norm.weight()), optional(norm.bias()), norm.epsilon(), false);
    }
    Tensor length =
        torch
            .norm(x, new ScalarOptional(new Scalar(2)), new long[] {1}, true)
            .clamp_min(new Scalar(norm.epsilon()));
    Tensor normed = x.div(length).mul(new Scalar(Math.sqrt((double) x.size(1))));
    if (norm.weight() != null) {
      normed = normed.mul(norm.weight().view(1, -1, 1, 1));
    }
    return norm.bias() == null ? normed : normed.add(norm.bias().view(1, -1, 1, 1));
  }

  private static TensorOptional optional(@Nullable Tensor tensor) {
    return tensor == null ? new TensorOptional() : new TensorOptional(tensor);
  }
}
