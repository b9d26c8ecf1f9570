package org.glance4j.model.vae;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.model.Probe;
import org.glance4j.weights.Weights;

/** A square convolution with bias. */
final class Conv implements Layer {
  private static final long[] NO_DILATION = {1, 1};

  private final String name;
  private final Tensor weight;
  private final Tensor bias;
  private final long[] stride;
  private final long[] padding;

  private Conv(String name, Tensor weight, Tensor bias, long stride, long padding) {
    this.name = name;
    this.weight = weight;
    this.bias = bias;
    this.stride = new long[] {stride, stride};
    this.padding = new long[] {padding, padding};
  }

  /** A convolution with an odd kernel that keeps the size. */
  static Conv same(Weights weights, String name, int in, int out, int kernel) {
    return take(weights, name, in, out, kernel, 1, kernel / 2);
  }

  /** A 3 x 3 convolution that halves the size of an input padded by one row and column. */
  static Conv halving(Weights weights, String name, int channels) {
    return take(weights, name, channels, channels, 3, 2, 0);
  }

  /**
   * What a causal 3-D convolution that keeps the size is for the first frame: the frames before it
   * are zero, so that only the last temporal slice of the kernel counts. No other slice is kept.
   */
  static Conv firstFrame(Weights weights, String name, int in, int out, int kernel) {
    Tensor cube = weights.take(name + ".weight", out, in, kernel, kernel, kernel);
    try (PointerScope scope = new PointerScope()) {
      Tensor slice = weights.keep(cube.select(2, kernel - 1L).contiguous());
      weights.release(cube);
      return new Conv(name, slice, weights.take(name + ".bias", out), 1, kernel / 2);
    }
  }

  private static Conv take(
      Weights weights, String name, int in, int out, int kernel, int stride, int padding) {
    Tensor weight = weights.take(name + ".weight", out, in, kernel, kernel);
    return new Conv(name, weight, weights.take(name + ".bias", out), stride, padding);
  }

  Tensor forward(Tensor x) {
    return torch.conv2d(x, weight, new TensorOptional(bias), stride, padding, NO_DILATION, 1);
  }

  @Override
  public Tensor forward(Tensor x, Probe probe) {
    Tensor y = forward(x);
    probe.see(name, "", () -> y);
    return y;
  }
}
