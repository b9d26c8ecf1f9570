package org.glance4j.model.vae;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.Conv2d;
import org.glance4j.kernel.Conv2d.Norm.Kind;
import org.glance4j.weights.Weights;

/** Group norm. */
record GroupNorm(Tensor weight, Tensor bias, int groups) implements Norm {
  private static final double EPSILON = 1e-6;

  static GroupNorm take(Weights weights, String name, int channels, int groups) {
    return new GroupNorm(
        weights.take(name + ".weight", channels), weights.take(name + ".bias", channels), groups);
  }

  @Override
  public Conv2d.Norm parameters() {
    return new Conv2d.Norm(Kind.GROUP, groups, EPSILON, weight, bias);
  }

  @Override
  public Tensor norm(Tensor x) {
    return torch.group_norm(
        x, groups, new TensorOptional(weight), new TensorOptional(bias), EPSILON, false);
  }
}
