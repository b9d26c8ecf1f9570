package org.glance4j.model;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * What the VAE's encoder makes of one picture: a normal distribution for each latent, packed as the
 * transformer reads them. Immutable; its tensors live until {@link #close()}.
 *
 * @param size of the picture
 * @param mean in the VAE's own scale, f32 [1, tokens, channels]
 * @param deviation the standard deviation, of the same shape
 * @param shift what the transformer's latents have less than the VAE's, before the scaling, f32 [1,
 *     1, channels]
 * @param scaling what the transformer's latents are multiplied by, f32 [1, 1, channels]
 */
public record PictureLatents(
    ImageSize size, Tensor mean, Tensor deviation, Tensor shift, Tensor scaling)
    implements AutoCloseable {
  /**
   * Draws latents: {@code (mean + deviation * noise - shift) * scaling}.
   *
   * @param noise packed standard normal noise of the mean's shape, as {@link ImageModel#noise}
   *     gives it
   * @return clean latents of the transformer's scale, f32 [1, tokens, channels], of the caller's
   *     scope
   */
  public Tensor sample(Tensor noise) {
    return scaled(torch.addcmul(mean, deviation, noise));
  }

  /** The most likely latents: what {@link #sample} gives for noise 0. */
  public Tensor mode() {
    return scaled(mean);
  }

  private Tensor scaled(Tensor z) {
    return z.sub(shift).mul_(scaling);
  }

  @Override
  public void close() {
    mean.close();
    deviation.close();
    shift.close();
    scaling.close();
  }
}
