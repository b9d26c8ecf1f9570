package org.glance4j.kernel;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/** {@link LoraBackward} as plain LibTorch operations: what autograd runs for the LoRA linear. */
final class TorchLoraBackward {
  private TorchLoraBackward() {}

  static void backward(
      Tensor x,
      Tensor dy,
      Tensor down,
      Tensor up,
      float scale,
      @Nullable PackedMatrix weightTransposed,
      @Nullable Tensor dx,
      @Nullable Tensor dDown,
      @Nullable Tensor dUp,
      boolean accumulate) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      Tensor rows = TorchLoraMatmul.matrix(x);
      Tensor gradient = TorchLoraMatmul.matrix(dy);
      Scalar factor = new Scalar(scale);
      Tensor inner = gradient.matmul(up).mul_(factor);
      if (dx != null && weightTransposed != null) {
        Tensor sum = gradient.matmul(weightTransposed.tensor().t()).add_(inner.matmul(down));
        dx.copy_(sum.view(dx.sizes()));
      }
      if (dDown != null) {
        store(dDown, inner.t().matmul(rows), accumulate);
      }
      if (dUp != null) {
        Tensor projected = rows.matmul(down.t()).mul_(factor);
        store(dUp, gradient.t().matmul(projected), accumulate);
      }
    }
  }

  private static void store(Tensor gradient, Tensor value, boolean accumulate) {
    if (accumulate) {
      gradient.add_(value);
    } else {
      gradient.copy_(value);
    }
  }
}
