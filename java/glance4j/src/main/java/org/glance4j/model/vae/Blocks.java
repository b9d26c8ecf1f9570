package org.glance4j.model.vae;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.model.TensorScope;
import org.glance4j.weights.Weights;

/** Builds the encoder and the decoder from the weights. */
final class Blocks {
  private final VaeConfig config;
  private final Weights weights;

  Blocks(VaeConfig config, Weights weights) {
    this.config = config;
    this.weights = weights;
  }

  /** Image to [mean, log variance]: halves the size between resolutions. */
  Layer encoder() {
    List<Integer> channels = config.blockChannels();
    int deepest = config.deepestChannels();
    List<Layer> layers = new ArrayList<>();
    layers.add(conv("encoder.conv_in", config.inChannels(), channels.get(0)));
    int in = channels.get(0);
    for (int i = 0; i < channels.size(); i++) {
      layers.add(downBlock(i, in, channels.get(i), i < channels.size() - 1));
      in = channels.get(i);
    }
    layers.add(midBlock("encoder.mid_block"));
    layers.add(norm("encoder.conv_norm_out", deepest));
    layers.add(conv("encoder.conv_out", deepest, 2 * config.latentChannels()));
    if (config.quantConv()) {
      int both = 2 * config.latentChannels();
      layers.add(Conv.same(weights, "quant_conv", both, both, 1));
    }
    return new Sequence("encoder", layers);
  }

  /** Latents to image: doubles the size between resolutions. */
  Layer decoder() {
    List<Integer> channels = config.blockChannels();
    int latent = config.latentChannels();
    int in = config.deepestChannels();
    List<Layer> layers = new ArrayList<>();
    if (config.postQuantConv()) {
      layers.add(Conv.same(weights, "post_quant_conv", latent, latent, 1));
    }
    layers.add(conv("decoder.conv_in", latent, in));
    layers.add(midBlock("decoder.mid_block"));
    for (int i = 0; i < channels.size(); i++) {
      int out = channels.get(channels.size() - 1 - i);
      layers.add(upBlock(i, in, out, i < channels.size() - 1));
      in = out;
    }
    layers.add(norm("decoder.conv_norm_out", in));
    layers.add(conv("decoder.conv_out", in, config.outChannels()));
    return new Sequence("decoder", layers);
  }

  private Layer downBlock(int index, int in, int out, boolean halve) {
    String name = "encoder.down_blocks." + index;
    List<Layer> layers = resnets(name, in, out, config.layersPerBlock());
    if (halve) {
      Conv conv = Conv.halving(weights, name + ".downsamplers.0.conv", out);
      layers.add((x, probe) -> halve(x, conv));
    }
    return new Sequence(name, layers);
  }

  private Layer upBlock(int index, int in, int out, boolean twice) {
    String name = "decoder.up_blocks." + index;
    List<Layer> layers = resnets(name, in, out, config.layersPerBlock() + 1);
    if (twice) {
      Conv conv = conv(name + ".upsamplers.0.conv", out, out);
      layers.add((x, probe) -> twice(x, conv));
    }
    return new Sequence(name, layers);
  }

  private Layer midBlock(String name) {
    int width = config.deepestChannels();
    List<Layer> layers = new ArrayList<>();
    layers.add(resnet(name + ".resnets.0", width, width));
    if (config.midAttention()) {
      layers.add(PixelAttention.take(weights, name + ".attentions.0", width, config.normGroups()));
    }
    layers.add(resnet(name + ".resnets.1", width, width));
    return new Sequence(name, layers);
  }

  private List<Layer> resnets(String block, int in, int out, int count) {
    List<Layer> layers = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      layers.add(resnet(block + ".resnets." + i, i == 0 ? in : out, out));
    }
    return layers;
  }

  private ResnetBlock resnet(String name, int in, int out) {
    return ResnetBlock.take(weights, name, in, out, config.normGroups());
  }

  private Conv conv(String name, int in, int out) {
    return Conv.same(weights, name, in, out, 3);
  }

  private GroupNorm norm(String name, int channels) {
    return GroupNorm.take(weights, name, channels, config.normGroups());
  }

  /** Half the size; only the right and lower edge are padded. */
  private static Tensor halve(Tensor x, Conv conv) {
    try (TensorScope scope = new TensorScope()) {
      return scope.release(conv.forward(torch.constant_pad_nd(x, 0, 1, 0, 1)));
    }
  }

  /** Twice the size, each pixel repeated. */
  private static Tensor twice(Tensor x, Conv conv) {
    try (TensorScope scope = new TensorScope()) {
      long[] size = {2 * x.size(2), 2 * x.size(3)};
      Tensor larger = torch.upsample_nearest2d(x, size, new DoubleOptional(), new DoubleOptional());
      return scope.release(conv.forward(larger));
    }
  }
}
