package org.glance4j.kernel;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.kernel.LoraMatmul.Adapter;
import org.glance4j.kernel.LoraMatmul.GatedResidual;
import org.glance4j.kernel.LoraMatmul.Linear;
import org.glance4j.kernel.LoraMatmul.Segment;
import org.glance4j.kernel.LoraMatmul.Up;
import org.jspecify.annotations.Nullable;

/**
 * {@link LoraMatmul} as plain LibTorch operations, in PEFT's order: the base product, the down
 * projection, the up projection, the multiplication by the scale, the sum.
 */
final class TorchLoraMatmul {
  private TorchLoraMatmul() {}

  static void forward(
      Tensor x,
      List<Linear> linears,
      List<Adapter> adapters,
      List<Segment> segments,
      @Nullable Tensor h) {
    if (x.numel() == 0) {
      return;
    }
    for (int i = 0; i < linears.size(); i++) {
      try (PointerScope scope = new PointerScope()) {
        forward(matrix(x), linears.get(i), i, adapters, segments, h);
      }
    }
  }

  private static void forward(
      Tensor x,
      Linear linear,
      int index,
      List<Adapter> adapters,
      List<Segment> segments,
      @Nullable Tensor h) {
    Tensor y = linear.y();
    if (linear.column() != Linear.WHOLE) {
      y = y.narrow(-1, linear.column(), linear.weight().rows());
    }
    GatedResidual gated = linear.gated();
    boolean recording = GradMode.is_enabled();
    // LibTorch records no gradient of what is written in place; and y may be the residual.
    boolean inPlace = gated == null && y.is_contiguous() && !recording;
    TensorOptional bias =
        linear.bias() == null ? new TensorOptional() : new TensorOptional(linear.bias());
    Tensor weight = linear.weight().tensor();
    Tensor sum =
        inPlace ? torch.linear_out(matrix(y), x, weight, bias) : torch.linear(x, weight, bias);
    for (Segment segment : segments) {
      Adapter adapter = segment.adapter() < 0 ? null : adapters.get(segment.adapter());
      Up up = adapter == null ? null : adapter.ups().get(index);
      if (adapter != null && up != null) {
        rows(sum, segment).add_(update(x, h, segment, adapter, up));
      }
    }
    if (linear.activation() == Activation.GELU_TANH) {
      torch.gelu_(sum, "tanh");
    }
    if (inPlace) {
      return;
    }
    Tensor result = sum.view(y.sizes());
    if (gated == null) {
      y.copy_(result);
    } else if (recording) {
      y.copy_(torch.addcmul(gated.residual(), gate(gated.gate(), y), result));
    } else {
      torch.addcmul_out(y, gated.residual(), gate(gated.gate(), y), result);
    }
  }

  private static Tensor update(
      Tensor x, @Nullable Tensor h, Segment segment, Adapter adapter, Up up) {
    long rank = up.matrix().columns();
    if (h != null) {
      Tensor down = rows(matrix(h), segment).narrow(1, up.first(), rank);
      return torch.linear(down, up.matrix().tensor());
    }
    Tensor down = adapter.down().tensor().narrow(0, up.first(), rank);
    Tensor update = torch.linear(torch.linear(rows(x, segment), down), up.matrix().tensor());
    return update.mul_(new Scalar(adapter.scale()));
  }

  /** All rows below each other: [rows, columns]. */
  static Tensor matrix(Tensor tensor) {
    return tensor.reshape(-1, tensor.size(-1));
  }

  static Tensor rows(Tensor matrix, Segment segment) {
    return matrix.narrow(0, segment.begin(), segment.end() - segment.begin());
  }

  /** One vector a sample, as a view that broadcasts over the sample's rows. */
  static Tensor gate(Tensor vectors, Tensor rows) {
    if (vectors.dim() == rows.dim()) {
      return vectors;
    }
    long[] shape = new long[Math.toIntExact(rows.dim())];
    Arrays.fill(shape, 1);
    shape[0] = vectors.size(0);
    shape[shape.length - 1] = vectors.size(-1);
    return vectors.view(shape);
  }
}
