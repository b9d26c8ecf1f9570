package org.glance4j.model.vae;

import java.nio.file.Path;
import java.util.List;
import org.glance4j.ModelFormatException;
import org.glance4j.weights.ConfigFile;

/**
 * The architecture of a VAE, from the {@code config.json} of an {@code AutoencoderKLQwenImage}.
 * Keys that are missing there have diffusers' defaults, which are Qwen-Image's values.
 *
 * @param imageChannels channels of the images
 * @param latentChannels channels of the latents
 * @param baseChannels channels of the encoder's first convolution
 * @param blockChannels channels of each resolution, from the image's to the latents'
 * @param layersPerBlock residual blocks of each resolution of the encoder; the decoder has one more
 * @param temporalDownsample for each halving of the size, from the image's on: true if it also
 *     halves the frames of a video, which takes weights that a single image does not need
 * @param latentScale from the mean and the standard deviation of each latent channel
 */
public record QwenVaeConfig(
    int imageChannels,
    int latentChannels,
    int baseChannels,
    List<Integer> blockChannels,
    int layersPerBlock,
    List<Boolean> temporalDownsample,
    LatentScale latentScale) {
  private static final List<Integer> MULTIPLIERS = List.of(1, 2, 4, 4);
  private static final List<Boolean> TEMPORAL = List.of(false, true, true);
  private static final List<Double> MEAN =
      List.of(
          -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715,
          0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921);
  private static final List<Double> DEVIATION =
      List.of(
          2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652,
          1.5579, 1.6382, 1.1253, 2.8251, 1.9160);

  /** Far above any model; keeps a wrong file from overflowing a width. */
  private static final int MAX_CHANNELS = 1 << 16;

  /** Copies the lists. */
  public QwenVaeConfig {
    blockChannels = List.copyOf(blockChannels);
    temporalDownsample = List.copyOf(temporalDownsample);
  }

  /**
   * Reads and checks {@code file}. Its {@code dropout} is for training only.
   *
   * @throws ModelFormatException naming the key, its value and what is expected
   */
  public static QwenVaeConfig read(Path file) {
    ConfigFile json = ConfigFile.read(file);
    json.requireClass("AutoencoderKLQwenImage");
    if (json.has("attn_scales") && !json.numbers("attn_scales").isEmpty()) {
      throw json.error(
          "attn_scales", json.numbers("attn_scales") + " is not supported; only [] is");
    }
    int base = json.positiveIntOr("base_dim", 96);
    int latentChannels = json.positiveIntOr("z_dim", 16);
    List<Integer> blockChannels = blockChannels(json, base);
    return new QwenVaeConfig(
        json.positiveIntOr("input_channels", 3),
        latentChannels,
        base,
        blockChannels,
        json.positiveIntOr("num_res_blocks", 2),
        temporalDownsample(json, blockChannels.size() - 1),
        latentScale(json, latentChannels));
  }

  private static List<Integer> blockChannels(ConfigFile json, int base) {
    List<Integer> multipliers = json.has("dim_mult") ? json.positiveInts("dim_mult") : MULTIPLIERS;
    boolean fits =
        !multipliers.isEmpty()
            && multipliers.stream().allMatch(factor -> (long) factor * base <= MAX_CHANNELS);
    if (!fits) {
      throw json.error(
          "dim_mult",
          multipliers
              + " is not supported; expected one number for each resolution and at most "
              + MAX_CHANNELS
              + " channels, with base_dim "
              + base);
    }
    return multipliers.stream().map(factor -> factor * base).toList();
  }

  /** The misspelling is diffusers'. */
  private static List<Boolean> temporalDownsample(ConfigFile json, int count) {
    String key = "temperal_downsample";
    List<Boolean> temporal = json.has(key) ? json.bools(key) : TEMPORAL;
    requireCount(json, key, temporal, count, "one less than dim_mult has");
    return temporal;
  }

  private static LatentScale latentScale(ConfigFile json, int channels) {
    List<Double> mean = json.has("latents_mean") ? json.numbers("latents_mean") : MEAN;
    List<Double> deviation = json.has("latents_std") ? json.numbers("latents_std") : DEVIATION;
    requireCount(json, "latents_mean", mean, channels, "z_dim");
    requireCount(json, "latents_std", deviation, channels, "z_dim");
    if (deviation.stream().anyMatch(value -> value <= 0)) {
      throw json.error("latents_std", deviation + " is not supported; all must be positive");
    }
    return new LatentScale(mean, deviation.stream().map(value -> 1 / value).toList());
  }

  private static void requireCount(
      ConfigFile json, String key, List<?> values, int count, String meaning) {
    if (values.size() != count) {
      throw json.error(
          key,
          "%s has %d values; expected %d, %s".formatted(values, values.size(), count, meaning));
    }
  }

  /** Image pixels per latent pixel, in each direction. */
  public int scale() {
    return 1 << (blockChannels.size() - 1);
  }

  /** Channels of the coarsest resolution. */
  int deepestChannels() {
    return blockChannels.get(blockChannels.size() - 1);
  }
}
