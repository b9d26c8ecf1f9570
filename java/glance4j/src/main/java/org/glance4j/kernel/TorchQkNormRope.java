package org.glance4j.kernel;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/** {@link QkNormRope} as plain LibTorch operations, in f32. */
final class TorchQkNormRope {
  private TorchQkNormRope() {}

  static void forward(
      Tensor q,
      Tensor k,
      @Nullable Tensor v,
      Tensor qWeight,
      Tensor kWeight,
      double epsilon,
      Tensor rotation,
      Tensor qOut,
      Tensor kOut,
      @Nullable Tensor vOut) {
    try (PointerScope scope = new PointerScope()) {
      // [tokens, 1, dim / 2]: the same for each head.
      Tensor angles = torch.view_as_complex(rotation).unsqueeze(1);
      qOut.copy_(rotated(q, qWeight, epsilon, angles));
      kOut.copy_(rotated(k, kWeight, epsilon, angles));
      if (v != null && vOut != null) {
        vOut.copy_(v.transpose(1, 2));
      }
    }
  }

  static void forward(
      Tensor projected,
      long heads,
      Tensor qWeight,
      Tensor kWeight,
      double epsilon,
      Tensor rotation,
      long first,
      QkNormRope.Joint joint) {
    try (PointerScope scope = new PointerScope()) {
      long tokens = projected.size(1);
      long dim = joint.q().size(3);
      Tensor qkv = projected.narrow(2, 0, 3 * heads * dim).unflatten(-1, 3, heads, dim);
      forward(
          qkv.select(2, 0),
          qkv.select(2, 1),
          qkv.select(2, 2),
          qWeight,
          kWeight,
          epsilon,
          rotation.narrow(0, first, tokens),
          joint.q().narrow(2, first, tokens),
          joint.k().narrow(2, first, tokens),
          joint.v().narrow(2, first, tokens));
    }
  }

  private static Tensor rotated(Tensor x, Tensor weight, double epsilon, Tensor angles) {
    Tensor normed =
        torch
            .rms_norm(
                x.to(ScalarType.Float),
                new long[] {x.size(-1)},
                new TensorOptional(),
                new DoubleOptional(epsilon))
            .mul(weight);
    Tensor pairs = torch.view_as_complex(normed.contiguous().unflatten(-1, -1, 2));
    return torch.view_as_real(pairs.mul(angles)).flatten(-2, -1).transpose(1, 2);
  }
}
