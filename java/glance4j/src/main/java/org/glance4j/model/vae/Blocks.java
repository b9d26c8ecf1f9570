package org.glance4j.model.vae;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.Conv2d;
import org.glance4j.kernel.Conv2d.Upscale;
import org.glance4j.kernel.SoftmaxAttention;
import org.glance4j.weights.Weights;
import org.jspecify.annotations.Nullable;

/** What the encoder and the decoder of a VAE are built of, taken from its weights. */
abstract class Blocks implements AutoCloseable {
  final Weights weights;
  private final Backend backend;
  private final List<Conv2d> convolutions = new ArrayList<>();

  Blocks(Weights weights, Backend backend) {
    this.weights = weights;
    this.backend = backend;
  }

  /** Image to [mean, log variance]: halves the size between resolutions. */
  abstract Layer encoder();

  /** Latents to image: doubles the size between resolutions. */
  abstract Layer decoder();

  /** Takes the norm's weights. */
  abstract Conv2d.Norm norm(String name, int channels);

  /** Takes the weight of a convolution: [out, in, kernel, kernel]. */
  abstract Tensor kernel(String name, int in, int out, int kernel);

  /**
   * A convolution that keeps the size.
   *
   * @param kernel 1 or 3
   */
  final Conv conv(String name, int in, int out, int kernel) {
    return conv(name, kernel(name, in, out, kernel), null, Upscale.NONE);
  }

  /** A 3 x 3 convolution that keeps the size. */
  final Conv conv(String name, int in, int out) {
    return conv(name, in, out, 3);
  }

  /** The same, of {@code silu(norm(x))}. */
  final Conv conv(Conv2d.Norm norm, String name, int in, int out) {
    return conv(name, kernel(name, in, out, 3), norm, Upscale.NONE);
  }

  /**
   * A 3 x 3 convolution of the image at twice the size, each pixel repeated.
   *
   * @param weight [out, in, 3, 3]
   */
  final Conv doubling(String name, Tensor weight) {
    return conv(name, weight, null, Upscale.TWICE);
  }

  private Conv conv(String name, Tensor weight, Conv2d.@Nullable Norm norm, Upscale upscale) {
    Tensor bias = weights.take(name + ".bias", weight.size(0));
    return new Conv(name, operation(weight, bias, norm, norm != null, upscale));
  }

  private Conv2d operation(
      Tensor weight, Tensor bias, Conv2d.@Nullable Norm norm, boolean silu, Upscale upscale) {
    Conv2d operation = Conv2d.on(backend, weight, bias, norm, silu, upscale);
    convolutions.add(operation);
    if (operation.ownsWeight()) {
      weights.release(weight);
    }
    return operation;
  }

  /**
   * Attention over all pixels.
   *
   * @param qkv weight of queries, keys and values, [3 * channels, channels, 1, 1]
   * @param out weight of the output, [channels, channels, 1, 1]
   */
  final PixelAttention attention(
      Conv2d.Norm norm, Tensor qkv, Tensor qkvBias, Tensor out, Tensor outBias) {
    return new PixelAttention(
        operation(qkv, qkvBias, norm, false, Upscale.NONE),
        SoftmaxAttention.on(backend),
        operation(out, outBias, null, false, Upscale.NONE));
  }

  final ResnetBlock resnet(String name, int in, int out) {
    return new ResnetBlock(
        conv(norm(name + ".norm1", in), name + ".conv1", in, out),
        conv(norm(name + ".norm2", out), name + ".conv2", out, out),
        in == out ? null : conv(name + ".conv_shortcut", in, out, 1));
  }

  final List<Layer> resnets(String block, int in, int out, int count) {
    List<Layer> layers = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      layers.add(resnet(block + ".resnets." + i, i == 0 ? in : out, out));
    }
    return layers;
  }

  final Layer midBlock(String name, int width, @Nullable Layer attention) {
    List<Layer> layers = new ArrayList<>();
    layers.add(resnet(name + ".resnets.0", width, width));
    if (attention != null) {
      layers.add(attention);
    }
    layers.add(resnet(name + ".resnets.1", width, width));
    return new Sequence(name, layers);
  }

  /** Frees what the convolutions made of the weights. Idempotent. */
  @Override
  public final void close() {
    convolutions.forEach(Conv2d::close);
  }
}
