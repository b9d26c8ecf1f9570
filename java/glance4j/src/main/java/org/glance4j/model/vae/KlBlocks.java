package org.glance4j.model.vae;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.Conv2d;
import org.glance4j.kernel.Conv2d.Norm.Kind;
import org.glance4j.weights.Weights;

/** The encoder and the decoder of an {@code AutoencoderKL}. */
final class KlBlocks extends Blocks {
  private static final double EPSILON = 1e-6;

  private final VaeConfig config;

  KlBlocks(VaeConfig config, Weights weights, Backend backend) {
    super(weights, backend);
    this.config = config;
  }

  @Override
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
    layers.add(
        conv(
            norm("encoder.conv_norm_out", deepest),
            "encoder.conv_out",
            deepest,
            2 * config.latentChannels()));
    if (config.quantConv()) {
      int both = 2 * config.latentChannels();
      layers.add(conv("quant_conv", both, both, 1));
    }
    return new Sequence("encoder", layers);
  }

  @Override
  Layer decoder() {
    List<Integer> channels = config.blockChannels();
    int latent = config.latentChannels();
    int in = config.deepestChannels();
    List<Layer> layers = new ArrayList<>();
    if (config.postQuantConv()) {
      layers.add(conv("post_quant_conv", latent, latent, 1));
    }
    layers.add(conv("decoder.conv_in", latent, in));
    layers.add(midBlock("decoder.mid_block"));
    for (int i = 0; i < channels.size(); i++) {
      int out = channels.get(channels.size() - 1 - i);
      layers.add(upBlock(i, in, out, i < channels.size() - 1));
      in = out;
    }
    Conv2d.Norm norm = norm("decoder.conv_norm_out", in);
    layers.add(conv(norm, "decoder.conv_out", in, config.outChannels()));
    return new Sequence("decoder", layers);
  }

  private Layer downBlock(int index, int in, int out, boolean halve) {
    String name = "encoder.down_blocks." + index;
    List<Layer> layers = resnets(name, in, out, config.layersPerBlock());
    if (halve) {
      layers.add(HalvingConv.take(weights, name + ".downsamplers.0.conv", out));
    }
    return new Sequence(name, layers);
  }

  private Layer upBlock(int index, int in, int out, boolean twice) {
    String name = "decoder.up_blocks." + index;
    List<Layer> layers = resnets(name, in, out, config.layersPerBlock() + 1);
    if (twice) {
      String upsampler = name + ".upsamplers.0.conv";
      layers.add(doubling(upsampler, kernel(upsampler, out, out, 3)));
    }
    return new Sequence(name, layers);
  }

  private Layer midBlock(String name) {
    return midBlock(
        name,
        config.deepestChannels(),
        config.midAttention() ? attention(name + ".attentions.0") : null);
  }

  private Layer attention(String name) {
    int width = config.deepestChannels();
    // Files saved before diffusers 0.18 have the second set of names.
    List<String> names =
        weights.contains(name + ".to_q.weight")
            ? List.of(".to_q", ".to_k", ".to_v", ".to_out.0")
            : List.of(".query", ".key", ".value", ".proj_attn");
    String out = name + names.get(3);
    try (PointerScope scope = new PointerScope()) {
      TensorVector kernels = new TensorVector();
      TensorVector biases = new TensorVector();
      for (String part : names.subList(0, 3)) {
        kernels.push_back(weights.take(name + part + ".weight", width, width));
        biases.push_back(weights.take(name + part + ".bias", width));
      }
      return attention(
          norm(name + ".group_norm", width),
          weights.keep(torch.cat(kernels, 0).view(-1, width, 1, 1)),
          weights.keep(torch.cat(biases, 0)),
          weights.keep(weights.take(out + ".weight", width, width).view(width, width, 1, 1)),
          weights.take(out + ".bias", width));
    }
  }

  @Override
  Conv2d.Norm norm(String name, int channels) {
    return new Conv2d.Norm(
        Kind.GROUP,
        config.normGroups(),
        EPSILON,
        weights.take(name + ".weight", channels),
        weights.take(name + ".bias", channels));
  }

  @Override
  Tensor kernel(String name, int in, int out, int kernel) {
    return weights.take(name + ".weight", out, in, kernel, kernel);
  }
}
