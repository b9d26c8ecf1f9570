package org.glance4j.model.vae;

import java.nio.file.Path;
import java.util.List;
import org.glance4j.ModelFormatException;
import org.glance4j.weights.ConfigFile;

/**
 * The architecture of a VAE, from the {@code config.json} of an {@code AutoencoderKL}. Keys that
 * are missing there have diffusers' defaults.
 *
 * @param inChannels channels of the images it encodes
 * @param outChannels channels of the images it decodes
 * @param latentChannels channels of the latents
 * @param blockChannels channels of each resolution, from the image's to the latents'
 * @param layersPerBlock residual blocks of each resolution of the encoder; the decoder has one more
 * @param normGroups groups of every group norm
 * @param midAttention true if the coarsest resolution has an attention
 * @param quantConv true if a 1 x 1 convolution follows the encoder
 * @param postQuantConv true if a 1 x 1 convolution precedes the decoder
 * @param scalingFactor latents are (z - shiftFactor) * scalingFactor for a transformer
 * @param shiftFactor 0 where the configuration has none
 * @param sampleSize height and width of the images it was made for
 */
public record VaeConfig(
    int inChannels,
    int outChannels,
    int latentChannels,
    List<Integer> blockChannels,
    int layersPerBlock,
    int normGroups,
    boolean midAttention,
    boolean quantConv,
    boolean postQuantConv,
    double scalingFactor,
    double shiftFactor,
    int sampleSize) {
  /** Copies the list. */
  public VaeConfig {
    blockChannels = List.copyOf(blockChannels);
  }

  /**
   * Reads and checks {@code file}.
   *
   * @throws ModelFormatException naming the key, its value and what is expected
   */
  public static VaeConfig read(Path file) {
    ConfigFile json = ConfigFile.read(file);
    json.requireClass("AutoencoderKL");
    List<Integer> channels = json.positiveInts("block_out_channels");
    requireBlocks(json, "down_block_types", "DownEncoderBlock2D", channels.size());
    requireBlocks(json, "up_block_types", "UpDecoderBlock2D", channels.size());
    String activation = json.stringOr("act_fn", "silu");
    if (!activation.equals("silu")) {
      throw json.error("act_fn", "\"" + activation + "\" is not supported; only silu is");
    }
    return new VaeConfig(
        json.positiveIntOr("in_channels", 3),
        json.positiveIntOr("out_channels", 3),
        json.positiveIntOr("latent_channels", 4),
        channels,
        json.positiveIntOr("layers_per_block", 1),
        normGroups(json, channels),
        json.boolOr("mid_block_add_attention", true),
        json.boolOr("use_quant_conv", true),
        json.boolOr("use_post_quant_conv", true),
        scalingFactor(json),
        json.numberOr("shift_factor", 0),
        json.positiveIntOr("sample_size", 32));
  }

  private static void requireBlocks(ConfigFile json, String key, String only, int count) {
    List<String> blocks = json.strings(key);
    if (blocks.size() != count || blocks.stream().anyMatch(block -> !block.equals(only))) {
      throw json.error(
          key,
          blocks
              + " is not supported; expected "
              + count
              + " of "
              + only
              + ", one for each of"
              + " block_out_channels");
    }
  }

  private static int normGroups(ConfigFile json, List<Integer> channels) {
    int groups = json.positiveIntOr("norm_num_groups", 32);
    if (channels.stream().anyMatch(width -> width % groups != 0)) {
      throw json.error(
          "norm_num_groups", groups + " does not divide all of block_out_channels " + channels);
    }
    return groups;
  }

  private static double scalingFactor(ConfigFile json) {
    double factor = json.numberOr("scaling_factor", 0.18215);
    if (factor == 0) {
      throw json.error("scaling_factor", "must not be 0");
    }
    return factor;
  }

  /** Image pixels per latent pixel, in each direction. */
  public int scale() {
    return 1 << (blockChannels.size() - 1);
  }

  /** The same for every channel. */
  LatentScale latentScale() {
    return LatentScale.uniform(latentChannels, shiftFactor, scalingFactor);
  }

  /** Channels of the coarsest resolution. */
  int deepestChannels() {
    return blockChannels.get(blockChannels.size() - 1);
  }
}
