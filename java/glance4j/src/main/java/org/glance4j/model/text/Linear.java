package org.glance4j.model.text;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.weights.Weights;
import org.jspecify.annotations.Nullable;

/** {@code y = x W^T + b} with W of shape [out, in]; x and y have the weights' type. */
record Linear(Tensor weight, @Nullable Tensor bias) {
  static Linear withBias(Weights weights, String name, int in, int out) {
    return new Linear(weights.take(name + ".weight", out, in), weights.take(name + ".bias", out));
  }

  static Linear withoutBias(Weights weights, String name, int in, int out) {
    return new Linear(weights.take(name + ".weight", out, in), null);
  }

  Tensor apply(Tensor x) {
    return bias == null
        ? torch.linear(x, weight)
        : torch.linear(x, weight, new TensorOptional(bias));
  }
}
