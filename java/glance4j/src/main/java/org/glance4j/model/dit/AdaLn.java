package org.glance4j.model.dit;

import org.bytedeco.javacpp.BoolPointer;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.T_TensorTensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.ModulatedNorm;

/**
 * What adaLN-zero (DiT, arXiv 2212.09748) makes of one conditioning vector for one layer: the layer
 * norm's shift and scale, and the gate of what the layer adds to the hidden state. Each has shape
 * [batch, 1, width].
 */
public record AdaLn(Tensor shift, Tensor scale, Tensor gate) {
  private static final double EPSILON = 1e-6;

  /** Which gradients LibTorch's layer norm shall give: of x, of its weight, of its bias. */
  private static final BoolPointer ONLY_X = onlyFirst(3);

  private static BoolPointer onlyFirst(long count) {
    BoolPointer wanted = new BoolPointer(count).retainReference();
    for (long i = 0; i < count; i++) {
      wanted.put(i, i == 0);
    }
    return wanted;
  }

  /** {@code layerNorm(x) * (1 + scale) + shift}; x has shape [batch, tokens, width]. */
  public Tensor modulate(ModulatedNorm norm, Tensor x) {
    return modulate(norm, x, shift, scale);
  }

  /**
   * The gradient of x from that of what {@link #modulate} gave. LayerNorm's from arXiv 1607.06450:
   * with n = layerNorm(x), {@code dx = (dn - mean(dn) - n mean(dn n)) / sqrt(var + epsilon)}.
   *
   * @param normed of x, from {@link #normed}
   */
  Tensor backward(Tensor x, T_TensorTensorTensor_T normed, Tensor gradient) {
    TensorOptional none = new TensorOptional();
    return torch
        .native_layer_norm_backward(
            gradient.mul(scale.add(new Scalar(1))),
            x,
            new long[] {x.size(-1)},
            normed.get1(),
            normed.get2(),
            none,
            none,
            ONLY_X)
        .get0();
  }

  /** {@code layerNorm(x)}, x's means, and the inverse of its standard deviations. */
  static T_TensorTensorTensor_T normed(Tensor x) {
    TensorOptional none = new TensorOptional();
    return torch.native_layer_norm(x, new long[] {x.size(-1)}, none, none, EPSILON);
  }

  /** {@code layerNorm(x) * (1 + scale) + shift}, where there is no gate. */
  static Tensor modulate(ModulatedNorm norm, Tensor x, Tensor shift, Tensor scale) {
    return norm.forward(x, ModulatedNorm.Norm.LAYER, EPSILON, scale, shift);
  }
}
