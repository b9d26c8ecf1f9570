package org.glance4j.model.vae;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.model.TensorScope;
import org.glance4j.weights.Weights;
import org.jspecify.annotations.Nullable;

/** What the encoder and the decoder of a VAE are built of, taken from its weights. */
abstract class Blocks {
  final Weights weights;

  Blocks(Weights weights) {
    this.weights = weights;
  }

  /** Image to [mean, log variance]: halves the size between resolutions. */
  abstract Layer encoder();

  /** Latents to image: doubles the size between resolutions. */
  abstract Layer decoder();

  abstract Norm norm(String name, int channels);

  /** A convolution with an odd kernel that keeps the size. */
  abstract Conv conv(String name, int in, int out, int kernel);

  final Conv conv(String name, int in, int out) {
    return conv(name, in, out, 3);
  }

  final ResnetBlock resnet(String name, int in, int out) {
    return new ResnetBlock(
        norm(name + ".norm1", in),
        conv(name + ".conv1", in, out),
        norm(name + ".norm2", out),
        conv(name + ".conv2", out, out),
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

  /** Half the size; only the right and lower edge are padded. */
  static Layer halving(Conv conv) {
    return (x, probe) -> {
      try (TensorScope scope = new TensorScope()) {
        return scope.release(conv.forward(torch.constant_pad_nd(x, 0, 1, 0, 1)));
      }
    };
  }

  /** Twice the size, each pixel repeated. */
  static Layer doubling(Conv conv) {
    return (x, probe) -> {
      try (TensorScope scope = new TensorScope()) {
        long[] size = {2 * x.size(2), 2 * x.size(3)};
        DoubleOptional fromSize = new DoubleOptional();
        Tensor larger = torch.upsample_nearest2d(x, size, fromSize, fromSize);
        return scope.release(conv.forward(larger));
      }
    };
  }
}
