package org.glance4j.model.vae;

import java.nio.file.Path;
import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.weights.Weights;

/**
 * The VAE of FLUX.1 and of most image models ({@code AutoencoderKL}). FLUX.1's decoder needs 1 GiB
 * besides its weights for an image of 512 x 512 and 3.3 GiB for 1024 x 1024.
 */
public final class AutoencoderKl extends Vae {
  private static final long COPIES_AT_FINEST = 4;

  private final VaeConfig config;

  private AutoencoderKl(VaeConfig config, Weights weights, Backend backend) {
    super(weights, new KlBlocks(config, weights, backend));
    this.config = config;
  }

  /**
   * Opens a diffusers {@code vae} folder.
   *
   * @param backend where it computes
   * @throws ModelFormatException if the configuration or the weights are not those of such a VAE;
   *     the message names file, item and reason
   */
  public static AutoencoderKl open(Path folder, Backend backend) {
    VaeConfig config = VaeConfig.read(folder.resolve("config.json"));
    Backend resolved = backend.resolve();
    return build(
        Weights.open(folder, ScalarType.Float, resolved::place),
        weights -> new AutoencoderKl(config, weights, resolved));
  }

  /** The architecture. */
  public VaeConfig config() {
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
    return config.inChannels();
  }

  @Override
  public int imageChannels() {
    return config.outChannels();
  }

  /** Divides by a number, not by a tensor: on a GPU the results differ in the last bit. */
  @Override
  Tensor unscale(Tensor latents) {
    return latents.div(new Scalar(config.scalingFactor())).add_(new Scalar(config.shiftFactor()));
  }

  @Override
  public long decodeBytes(int height, int width) {
    return decodeBytes(config, height, width);
  }

  /**
   * {@link #decodeBytes(int, int)} of a VAE that is not loaded: the finest resolution holds its
   * input, which has the channels of the one below, several times over.
   */
  public static long decodeBytes(VaeConfig config, int height, int width) {
    List<Integer> channels = config.blockChannels();
    long widest = channels.get(Math.min(1, channels.size() - 1));
    return COPIES_AT_FINEST * widest * height * width * Float.BYTES;
  }
}
