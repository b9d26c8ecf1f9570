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

/** {@link Conv2d} in LibTorch's operations, which leaves nothing in the caller's scope but y. */
final class TorchConv2d {
  private static final long[] ONE = {1, 1};

  private TorchConv2d() {}

  static Tensor forward(Conv2d conv, Tensor x, @Nullable Tensor residual) {
    PointerScope outer = PointerScope.getInnerScope();
    try (PointerScope scope = new PointerScope()) {
      Tensor u = upscaled(conv, activated(conv, Conv2d.channelsLast(x)));
      long[] padding = {conv.kernel / 2, conv.kernel / 2};
      Tensor weight = Objects.requireNonNull(conv.weight);
      Tensor y = torch.conv2d(u, weight, optional(conv.bias), ONE, padding, ONE, 1);
      Tensor result = residual == null ? y : y.add_(residual);
      if (outer == null) {
        return result.retainReference();
      }
      outer.attach(result);
      return result;
    }
  }

  private static Tensor activated(Conv2d conv, Tensor x) {
    Tensor u = conv.norm == null ? x : norm(conv.norm, x);
    if (!conv.silu) {
      return u;
    }
    // At high resolution a copy takes a gigabyte.
    return conv.norm == null ? torch.silu(u) : torch.silu_(u);
  }

  private static Tensor upscaled(Conv2d conv, Tensor x) {
    if (conv.upscale == Conv2d.Upscale.NONE) {
      return x;
    }
    long[] size = {2 * x.size(2), 2 * x.size(3)};
    return torch.upsample_nearest2d(x, size, new DoubleOptional(), new DoubleOptional());
  }

  private static Tensor norm(Conv2d.Norm norm, Tensor x) {
    if (norm.kind() == Conv2d.Norm.Kind.GROUP) {
      return torch.group_norm(
          x, norm.groups(), optional(norm.weight()), optional(norm.bias()), norm.epsilon(), false);
    }
    Scalar root = new Scalar(Math.sqrt((double) x.size(1)));
    Tensor length =
        torch
            .norm(x, new ScalarOptional(new Scalar(2)), new long[] {1}, true)
            .clamp_min(new Scalar(norm.epsilon()));
    Tensor normed = x.div(length);
    normed =
        norm.weight() == null
            ? normed.mul(root)
            : normed.mul(norm.weight().view(1, -1, 1, 1).mul(root));
    return norm.bias() == null ? normed : normed.add(norm.bias().view(1, -1, 1, 1));
  }

  private static TensorOptional optional(@Nullable Tensor tensor) {
    return tensor == null ? new TensorOptional() : new TensorOptional(tensor);
  }
}
