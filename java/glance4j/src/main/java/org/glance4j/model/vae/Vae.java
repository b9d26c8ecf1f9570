package org.glance4j.model.vae;

import java.util.Arrays;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.MemoryFormat;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.model.Probe;
import org.glance4j.model.TensorScope;
import org.glance4j.weights.Weights;

/**
 * A VAE: images to latents and back. Computes in f32, whatever type its file has: in 16 bits the
 * decoder's activations lose visible precision.
 *
 * <p>Results belong to the caller's {@link org.bytedeco.javacpp.PointerScope}. Stateless and
 * thread-safe, but nothing may run when {@link #close()} is called.
 */
public abstract sealed class Vae implements AutoCloseable
    permits AutoencoderKl, AutoencoderKlQwenImage {
  private static final double MIN_LOG_VARIANCE = -30;
  private static final double MAX_LOG_VARIANCE = 20;

  private final Weights weights;
  private final Blocks blocks;
  private final Layer encoder;
  private final Layer decoder;
  private final AtomicBoolean closed = new AtomicBoolean();

  Vae(Weights weights, Blocks blocks) {
    this.weights = weights;
    this.blocks = blocks;
    this.encoder = blocks.encoder();
    this.decoder = blocks.decoder();
    weights.requireAllTaken();
  }

  /** What {@code build} makes of the weights, which it closes if it fails. */
  static <V extends Vae> V build(Weights weights, Function<Weights, V> build) {
    try {
      return build.apply(weights);
    } catch (RuntimeException | Error e) {
      weights.close();
      throw e;
    }
  }

  /** Channels of the latents. */
  public abstract int latentChannels();

  /** Image pixels per latent pixel, in each direction. */
  public abstract int pixelsPerLatent();

  /** How a transformer's latents come from this VAE's own. */
  public abstract LatentScale latentScale();

  /** Channels of the images it encodes. */
  abstract int encodedChannels();

  /** Channels of the images it decodes. */
  public abstract int imageChannels();

  /** Undoes {@link #scale}. */
  abstract Tensor unscale(Tensor latents);

  /**
   * About how many bytes {@link #decode} takes beside the weights.
   *
   * @param height of the image, in pixels
   * @param width of the image, in pixels
   */
  public abstract long decodeBytes(int height, int width);

  /**
   * Decodes a transformer's latents.
   *
   * @param latents shape [batch, latentChannels, height, width]
   * @return f32, nominally in [-1, 1], shape [batch, channels, height * pixelsPerLatent, width *
   *     pixelsPerLatent]
   */
  public final Tensor decode(Tensor latents) {
    return decode(latents, Probe.NONE);
  }

  final Tensor decode(Tensor latents, Probe probe) {
    requireOpen();
    requireChannels("latents", latents, latentChannels());
    try (TensorScope scope = new TensorScope()) {
      Tensor z = unscale(latents.to(ScalarType.Float));
      return scope.release(decoder.forward(channelsLast(z), probe));
    }
  }

  /**
   * Encodes images; {@link #scale} makes the result a transformer's latents.
   *
   * @param images in [-1, 1], shape [batch, channels, height, width]; height and width multiples of
   *     {@link #pixelsPerLatent()}
   */
  public final LatentDistribution encode(Tensor images) {
    requireOpen();
    requireImages(images);
    try (TensorScope scope = new TensorScope()) {
      Tensor moments = encoder.forward(channelsLast(images.to(ScalarType.Float)), Probe.NONE);
      int latentChannels = latentChannels();
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

  /**
   * Latents of the VAE's own scale as a transformer wants them: {@code (z - shift) * scaling} of
   * {@link #latentScale()}.
   *
   * @param z f32, shape [batch, latentChannels, height, width]
   */
  public final Tensor scale(Tensor z) {
    return latentScale().apply(z);
  }

  /** The layout in which every layer then computes; on a CPU a fifth faster than the usual one. */
  private static Tensor channelsLast(Tensor x) {
    return x.contiguous(MemoryFormat.ChannelsLast);
  }

  private void requireImages(Tensor images) {
    requireChannels("images", images, encodedChannels());
    int scale = pixelsPerLatent();
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
  public final void close() {
    if (closed.compareAndSet(false, true)) {
      blocks.close();
      weights.close();
    }
  }
}
