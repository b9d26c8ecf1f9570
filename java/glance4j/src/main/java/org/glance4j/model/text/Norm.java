package org.glance4j.model.text;

import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.weights.Weights;
import org.jspecify.annotations.Nullable;

/**
 * Normalizes the last axis of a float32 tensor: LayerNorm with a bias, RMSNorm (which subtracts no
 * mean) without. The arithmetic is in float32; the result has the type of the model's weights.
 */
record Norm(Tensor weight, @Nullable Tensor bias, double epsilon, ScalarType dtype) {
  static Norm layer(Weights weights, String name, int size, double epsilon) {
    Tensor weight = weights.take(name + ".weight", size);
    Tensor bias = weights.take(name + ".bias", size);
    return new Norm(f32(weights, weight), f32(weights, bias), epsilon, weight.scalar_type());
  }

  static Norm rms(Weights weights, String name, int size, double epsilon) {
    Tensor weight = weights.take(name + ".weight", size);
    return new Norm(f32(weights, weight), null, epsilon, weight.scalar_type());
  }

  Tensor apply(Tensor x) {
    long[] shape = {weight.size(0)};
    Tensor y =
        bias == null
            ? torch.rms_norm(x, shape, new TensorOptional(weight), new DoubleOptional(epsilon))
            : torch.layer_norm(
                x, shape, new TensorOptional(weight), new TensorOptional(bias), epsilon, false);
    return y.to(dtype);
  }

  private static Tensor f32(Weights weights, Tensor tensor) {
    return weights.keep(tensor.to(ScalarType.Float));
  }
}
