package org.glance4j.model.vae;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.MemoryFormat;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.model.Probe;
import org.glance4j.model.TensorScope;
import org.glance4j.weights.Weights;

/**
 * The VAE ({@code AutoencoderKL}): images to latents and back. Computes in f32, whatever type its
 * file has: in 16 bits the decoder's activations lose visible precision.
 *
 * <p>Results belong to the caller's {@link org.bytedeco.javacpp.PointerScope}. Stateless and
 * thread-safe, but nothing may run when {@link #close()} is called.
 */
public final class AutoencoderKl implements AutoCloseable {
  private static final double MIN_LOG_VARIANCE = -30;
  private static final double MAX_LOG_VARIANCE = 20;
  private static final long COPIES_AT_FINEST = 4;

  private final VaeConfig config;
  private final Weights weights;
  private final Layer encoder;
  private final Layer decoder;
  private final AtomicBoolean closed = new AtomicBoolean();

  private AutoencoderKl(VaeConfig config, Weights weights) {
    this.config = config;
    this.weights = weights;
    Blocks blocks = new Blocks(config, weights);
    this.encoder = blocks.encoder();
    this.decoder = blocks.decoder();
    weights.requireAllTaken();
  }

  /**
   * Opens a diffusers {@code vae} folder.
   *
   * @throws ModelFormatException if the configuration or the weights are not those of such a VAE;
   *     the message names file, item and reason
   */
  public static AutoencoderKl open(Path folder) {
    return open(folder, UnaryOperator.identity());
  }

  /**
   * As {@link #open(Path)}.
   *
   * @param placement gives a tensor where the VAE shall compute: itself, or a copy
   */
  public static AutoencoderKl open(Path folder, UnaryOperator<Tensor> placement) {
    VaeConfig config = VaeConfig.read(folder.resolve("config.json"));
    Weights weights = Weights.open(folder, ScalarType.Float, placement);
    try {
      return new AutoencoderKl(config, weights);
    } catch (RuntimeException | Error e) {
      weights.close();
      throw e;
    }
  }

  /** The architecture. */
  public VaeConfig config() {
    return config;
  }

  /**
   * Decodes a transformer's latents. FLUX.1's decoder needs 1 GiB besides its weights for an image
   * of 512 x 512 and 3.3 GiB for 1024 x 1024.
   *
   * @param latents shape [batch, latentChannels, height, width]
   * @return f32, nominally in [-1, 1], shape [batch, outChannels, height * scale, width * scale]
   */
  public Tensor decode(Tensor latents) {
    return decode(latents, Probe.NONE);
  }

  Tensor decode(Tensor latents, Probe probe) {
    requireOpen();
    requireChannels("latents", latents, config.latentChannels());
    try (TensorScope scope = new TensorScope()) {
      Tensor z =
          latents
              .to(ScalarType.Float)
              .div(new Scalar(config.scalingFactor()))
              .add(new Scalar(config.shiftFactor()));
      return scope.release(decoder.forward(channelsLast(z), probe));
    }
  }

  /**
   * About how many bytes {@link #decode} takes beside the weights: the finest resolution holds its
   * input, which has the channels of the one below, several times over.
   *
   * @param height of the image, in pixels
   * @param width of the image, in pixels
   */
  public long decodeBytes(int height, int width) {
    return decodeBytes(config, height, width);
  }

  /** {@link #decodeBytes(int, int)} of a VAE that is not loaded. */
  public static long decodeBytes(VaeConfig config, int height, int width) {
    List<Integer> channels = config.blockChannels();
    long widest = channels.get(Math.min(1, channels.size() - 1));
    return COPIES_AT_FINEST * widest * height * width * Float.BYTES;
  }

  /**
   * Encodes images; {@link #scale} makes the result a transformer's latents.
   *
   * @param images in [-1, 1], shape [batch, inChannels, height, width]; height and width multiples
   *     of {@link VaeConfig#scale()}
   */
  public LatentDistribution encode(Tensor images) {
    requireOpen();
    requireImages(images);
    try (TensorScope scope = new TensorScope()) {
      Tensor moments = encoder.forward(channelsLast(images.to(ScalarType.Float)), Probe.NONE);
      long latentChannels = config.latentChannels();
      Tensor logVariance =
          moments
              .narrow(1, latentChannels, latentChannels)
              .clamp(
                  new ScalarOptional(new Scalar(MIN_LOG_VARIANCE)),
                  new ScalarOptional(new Scalar(MAX_LOG_VARIANCE)));
      return new LatentDistribution(
          scope.release(moments.narrow(1, 0, latentChannels)), scope.release(logVariance));
    }
  }

  /** Latents of the VAE's own scale as a transformer wants them: {@code (z - shift) * scaling}. */
  public Tensor scale(Tensor z) {
    return z.sub(new Scalar(config.shiftFactor())).mul(new Scalar(config.scalingFactor()));
  }

  /** The layout in which every layer then computes; on a CPU a fifth faster than the usual one. */
  private static Tensor channelsLast(Tensor x) {
    return x.contiguous(MemoryFormat.ChannelsLast);
  }

  private void requireImages(Tensor images) {
    requireChannels("images", images, config.inChannels());
    int scale = config.scale();
    if (images.size(2) % scale != 0 || images.size(3) % scale != 0) {
      throw new IllegalArgumentException(
          "images of %d x %d pixels: height and width must be multiples of %d"
              .formatted(images.size(2), images.size(3), scale));
    }
  }

  private static void requireChannels(String what, Tensor tensor, int channels) {
    if (tensor.dim() != 4 || tensor.size(1) != channels) {
      throw new IllegalArgumentException(
          "%s have shape %s, expected [batch, %d, height, width]"
              .formatted(what, Arrays.toString(tensor.sizes().vec().get()), channels));
    }
  }

  private void requireOpen() {
    if (closed.get()) {
      throw new IllegalStateException("the VAE of " + weights.folder() + " is closed");
    }
  }

  /** Frees the weights. Idempotent; nothing may be running. */
  @Override
  public void close() {
    if (closed.compareAndSet(false, true)) {
      weights.close();
    }
  }
}
