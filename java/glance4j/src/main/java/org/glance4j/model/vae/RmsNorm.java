package org.glance4j.model.vae;

import java.util.Arrays;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.Conv2d;
import org.glance4j.kernel.Conv2d.Norm.Kind;
import org.glance4j.model.TensorScope;
import org.glance4j.weights.Weights;

/**
 * {@code x / max(|x|, 1e-12) * sqrt(channels) * gamma}, each pixel over its channels.
 *
 * @param gamma shape [channels]
 */
record RmsNorm(Tensor gamma) implements Norm {
  private static final double SMALLEST = 1e-12;
  private static final long[] CHANNELS = {1};

  /**
   * Takes {@code NAME.gamma}.
   *
   * @param axes after the channels in the file, each of length 1: 2 of an image, 3 of a video
   */
  static RmsNorm take(Weights weights, String name, int channels, int axes) {
    long[] shape = new long[1 + axes];
    Arrays.fill(shape, 1);
    shape[0] = channels;
    try (PointerScope scope = new PointerScope()) {
      return new RmsNorm(weights.keep(weights.take(name + ".gamma", shape).view(channels)));
    }
  }

  @Override
  public Conv2d.Norm parameters() {
    return new Conv2d.Norm(Kind.PIXEL, 0, SMALLEST, gamma, null);
  }

  @Override
  public Tensor norm(Tensor x) {
    try (TensorScope scope = new TensorScope()) {
      Tensor length =
          torch
              .norm(x, new ScalarOptional(new Scalar(2)), CHANNELS, true)
              .clamp_min_(new Scalar(SMALLEST));
      Tensor scale = gamma.view(1, -1, 1, 1).mul(new Scalar(Math.sqrt((double) x.size(1))));
      return scope.release(x.div(length).mul_(scale));
    }
  }
}
