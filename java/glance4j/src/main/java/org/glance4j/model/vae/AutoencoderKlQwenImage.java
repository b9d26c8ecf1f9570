package org.glance4j.model.vae;

import java.nio.file.Path;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.weights.Weights;

/**
 * The VAE of Qwen-Image ({@code AutoencoderKLQwenImage}): a causal one for videos, here for single
 * images only, for which it is a VAE of images. What it decodes is clamped to [-1, 1]. Qwen-Image's
 * decoder needs 0.5 GiB besides its weights for an image of 512 x 512 and 1.9 GiB for 1024 x 1024.
 */
public final class AutoencoderKlQwenImage extends Vae {
  private static final long COPIES_AT_FINEST = 3;

  private final QwenVaeConfig config;

  private AutoencoderKlQwenImage(QwenVaeConfig config, Weights weights, Backend backend) {
    super(weights, new QwenBlocks(config, weights, backend));
    this.config = config;
  }

  /**
   * Opens a diffusers {@code vae} folder. Of the weights only what a single image needs stays in
   * memory, a third of the whole.
   *
   * @param backend where it computes
   * @throws ModelFormatException if the configuration or the weights are not those of such a VAE;
   *     the message names file, item and reason
   */
  public static AutoencoderKlQwenImage open(Path folder, Backend backend) {
    QwenVaeConfig config = QwenVaeConfig.read(folder.resolve("config.json"));
    Backend resolved = backend.resolve();
    return build(
        Weights.open(folder, ScalarType.Float, resolved::place),
        weights -> new AutoencoderKlQwenImage(config, weights, resolved));
  }

  /** The architecture. */
  public QwenVaeConfig config() {
    return config;
  }

  @Override
  public int latentChannels() {
    return config.latentChannels();
  }

  @Override
  public int pixelsPerLatent() {
    return config.scale();
  }

  @Override
  public LatentScale latentScale() {
    return config.latentScale();
  }

  @Override
  int encodedChannels() {
    return config.imageChannels();
  }

  @Override
  public int imageChannels() {
    return config.imageChannels();
  }

  @Override
  Tensor unscale(Tensor latents) {
    return latentScale().undo(latents);
  }

  @Override
  public long decodeBytes(int height, int width) {
    return decodeBytes(config, height, width);
  }

  /**
   * {@link #decodeBytes(int, int)} of a VAE that is not loaded: the finest resolution holds its
   * input, which before the convolution has the channels of the one below, several times over.
   */
  public static long decodeBytes(QwenVaeConfig config, int height, int width) {
    List<Integer> channels = config.blockChannels();
    long widest = channels.get(Math.min(1, channels.size() - 1));
    return COPIES_AT_FINEST * widest * height * width * Float.BYTES;
  }
}
