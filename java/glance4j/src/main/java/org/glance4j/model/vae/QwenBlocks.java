package org.glance4j.model.vae;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.Conv2d;
import org.glance4j.kernel.Conv2d.Norm.Kind;
import org.glance4j.model.Probe;
import org.glance4j.weights.Weights;

/**
 * The encoder and the decoder of an {@code AutoencoderKLQwenImage}, for the first frame of a video,
 * which is a single image. There its causal 3-D convolutions are 2-D ones ({@link #kernel}), and
 * those that only mix frames ({@code time_conv}) do not run.
 */
final class QwenBlocks extends Blocks {
  private static final double EPSILON = 1e-12;

  private final QwenVaeConfig config;

  QwenBlocks(QwenVaeConfig config, Weights weights, Backend backend) {
    super(weights, backend);
    this.config = config;
  }

  @Override
  Layer encoder() {
    List<Integer> channels = config.blockChannels();
    int deepest = config.deepestChannels();
    int both = 2 * config.latentChannels();
    List<Layer> layers = new ArrayList<>();
    layers.add(conv("encoder.conv_in", config.imageChannels(), config.baseChannels()));
    layers.addAll(downBlocks(channels));
    layers.add(midBlock("encoder.mid_block", deepest));
    layers.add(conv(norm("encoder.norm_out", deepest), "encoder.conv_out", deepest, both));
    layers.add(conv("quant_conv", both, both, 1));
    return new Sequence("encoder", layers);
  }

  /** Residual blocks and halvings have one numbering, over all resolutions. */
  private List<Layer> downBlocks(List<Integer> channels) {
    List<Layer> layers = new ArrayList<>();
    int in = config.baseChannels();
    for (int i = 0; i < channels.size(); i++) {
      int out = channels.get(i);
      for (int j = 0; j < config.layersPerBlock(); j++) {
        layers.add(resnet(downName(layers), in, out));
        in = out;
      }
      if (i < channels.size() - 1) {
        String name = downName(layers);
        ignoreTimeConv(name, config.temporalDownsample().get(i));
        layers.add(HalvingConv.take(weights, name + ".resample.1", out));
      }
    }
    return layers;
  }

  private static String downName(List<Layer> before) {
    return "encoder.down_blocks." + before.size();
  }

  @Override
  Layer decoder() {
    List<Integer> channels = config.blockChannels();
    int latent = config.latentChannels();
    int last = channels.size() - 1;
    int in = config.deepestChannels();
    List<Layer> layers = new ArrayList<>();
    layers.add(conv("post_quant_conv", latent, latent, 1));
    layers.add(conv("decoder.conv_in", latent, in));
    layers.add(midBlock("decoder.mid_block", in));
    for (int i = 0; i < last; i++) {
      int out = channels.get(last - i);
      layers.add(upBlock(i, in, out, config.temporalDownsample().get(last - 1 - i)));
      in = out / 2;
    }
    int finest = channels.get(0);
    String name = "decoder.up_blocks." + last;
    layers.add(new Sequence(name, resnets(name, in, finest, config.layersPerBlock() + 1)));
    Conv2d.Norm norm = norm("decoder.norm_out", finest);
    layers.add(conv(norm, "decoder.conv_out", finest, config.imageChannels()));
    layers.add(QwenBlocks::clamp);
    return new Sequence("decoder", layers);
  }

  /** Doubles the size and, in the same convolution, halves the channels. */
  private Layer upBlock(int index, int in, int out, boolean temporal) {
    String name = "decoder.up_blocks." + index;
    String upsampler = name + ".upsamplers.0";
    List<Layer> layers = resnets(name, in, out, config.layersPerBlock() + 1);
    ignoreTimeConv(upsampler, temporal);
    String conv = upsampler + ".resample.1";
    layers.add(doubling(conv, weights.take(conv + ".weight", out / 2, out, 3, 3)));
    return new Sequence(name, layers);
  }

  private Layer midBlock(String name, int width) {
    String attention = name + ".attentions.0";
    String qkv = attention + ".to_qkv";
    String out = attention + ".proj";
    return midBlock(
        name,
        width,
        attention(
            norm(weights.take(attention + ".norm.gamma", width, 1, 1), width),
            weights.take(qkv + ".weight", 3L * width, width, 1, 1),
            weights.take(qkv + ".bias", 3L * width),
            weights.take(out + ".weight", width, width, 1, 1),
            weights.take(out + ".bias", width)));
  }

  private void ignoreTimeConv(String resample, boolean temporal) {
    if (temporal) {
      List<String> names = List.of(resample + ".time_conv.weight", resample + ".time_conv.bias");
      weights.ignore(names::contains);
    }
  }

  private static Tensor clamp(Tensor x, Probe probe) {
    return x.clamp(new ScalarOptional(new Scalar(-1)), new ScalarOptional(new Scalar(1)));
  }

  @Override
  Conv2d.Norm norm(String name, int channels) {
    return norm(weights.take(name + ".gamma", channels, 1, 1, 1), channels);
  }

  private Conv2d.Norm norm(Tensor gamma, int channels) {
    try (PointerScope scope = new PointerScope()) {
      return new Conv2d.Norm(Kind.PIXEL, 0, EPSILON, weights.keep(gamma.view(channels)), null);
    }
  }

  /**
   * What a causal 3-D convolution that keeps the size is for the first frame: the frames before it
   * are zero, so that only the last temporal slice of the kernel counts. No other slice is kept.
   */
  @Override
  Tensor kernel(String name, int in, int out, int kernel) {
    try (PointerScope scope = new PointerScope()) {
      Tensor cube = weights.take(name + ".weight", out, in, kernel, kernel, kernel);
      Tensor slice = weights.keep(cube.select(2, kernel - 1L).contiguous());
      weights.release(cube);
      return slice;
    }
  }
}
