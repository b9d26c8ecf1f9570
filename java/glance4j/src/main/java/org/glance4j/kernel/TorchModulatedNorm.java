package org.glance4j.kernel;

import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.LoraMatmul.Adapter;
import org.glance4j.kernel.LoraMatmul.Segment;
import org.jspecify.annotations.Nullable;

/** {@link ModulatedNorm} as plain LibTorch operations. */
final class TorchModulatedNorm {
  private TorchModulatedNorm() {}

  static Tensor forward(
      Tensor x,
      ModulatedNorm.Norm norm,
      double epsilon,
      @Nullable Tensor scale,
      @Nullable Tensor shift) {
    long[] lastAxis = {x.size(-1)};
    TensorOptional none = new TensorOptional();
    Tensor normed =
        norm == ModulatedNorm.Norm.LAYER
            ? torch.layer_norm(x, lastAxis, none, none, epsilon, false)
            : torch.rms_norm(x, lastAxis, none, new DoubleOptional(epsilon));
    Tensor factor = scale == null ? null : TorchLoraMatmul.gate(scale, x).add(new Scalar(1));
    Tensor offset = shift == null ? null : TorchLoraMatmul.gate(shift, x);
    if (factor != null && offset != null) {
      return torch.addcmul(offset, normed, factor);
    }
    if (factor != null) {
      return normed.mul(factor);
    }
    return offset != null ? normed.add(offset) : normed;
  }

  static void forward(
      Tensor x,
      ModulatedNorm.Norm norm,
      double epsilon,
      @Nullable Tensor scale,
      @Nullable Tensor shift,
      Tensor y,
      @Nullable Tensor h,
      List<Adapter> adapters,
      List<Segment> segments) {
    try (PointerScope scope = new PointerScope()) {
      y.copy_(forward(x, norm, epsilon, scale, shift));
      for (Segment segment : segments) {
        if (h != null && segment.adapter() >= 0) {
          Adapter adapter = adapters.get(segment.adapter());
          Tensor rows = TorchLoraMatmul.rows(TorchLoraMatmul.matrix(y), segment);
          Tensor down =
              torch.linear(rows, adapter.down().tensor()).mul_(new Scalar(adapter.scale()));
          Tensor target = TorchLoraMatmul.rows(h.flatten(0, -2), segment);
          target.narrow(1, 0, adapter.down().rows()).copy_(down);
        }
      }
    }
  }
}
