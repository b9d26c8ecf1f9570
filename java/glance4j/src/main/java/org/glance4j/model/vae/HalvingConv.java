package org.glance4j.model.vae;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.model.Probe;
import org.glance4j.model.TensorScope;
import org.glance4j.weights.Weights;

/** A 3 x 3 convolution that halves the size; only the right and lower edge are padded. */
record HalvingConv(Tensor weight, Tensor bias) implements Layer {
  private static final long[] STRIDE = {2, 2};
  private static final long[] NO_PADDING = {0, 0};
  private static final long[] NO_DILATION = {1, 1};

  static HalvingConv take(Weights weights, String name, int channels) {
    return new HalvingConv(
        weights.take(name + ".weight", channels, channels, 3, 3),
        weights.take(name + ".bias", channels));
  }

  @Override
  public Tensor forward(Tensor x, Probe probe) {
    try (TensorScope scope = new TensorScope()) {
      Tensor padded = torch.constant_pad_nd(x, 0, 1, 0, 1);
      TensorOptional added = new TensorOptional(bias);
      return scope.release(torch.conv2d(padded, weight, added, STRIDE, NO_PADDING, NO_DILATION, 1));
    }
  }
}
