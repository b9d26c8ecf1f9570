package org.glance4j.model.vae;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.weights.Weights;

/** Group norm. */
final class GroupNorm implements Norm {
  private static final double EPSILON = 1e-6;

  private final Tensor weight;
  private final Tensor bias;
  private final int groups;

  private GroupNorm(Tensor weight, Tensor bias, int groups) {
    this.weight = weight;
    this.bias = bias;
    this.groups = groups;
  }

  static GroupNorm take(Weights weights, String name, int channels, int groups) {
    return new GroupNorm(
        weights.take(name + ".weight", channels), weights.take(name + ".bias", channels), groups);
  }

  @Override
  public Tensor norm(Tensor x) {
    return torch.group_norm(
        x, groups, new TensorOptional(weight), new TensorOptional(bias), EPSILON, false);
  }
}
