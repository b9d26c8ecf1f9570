package org.glance4j.model.vae;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * What the encoder makes of an image: a normal distribution for each latent. Both tensors have
 * shape [batch, latentChannels, height, width].
 *
 * @param mean also the most likely latents
 * @param logVariance within [-30, 20]
 */
public record LatentDistribution(Tensor mean, Tensor logVariance) {
  /**
   * Draws latents: {@code mean + exp(logVariance / 2) * noise}.
   *
   * @param noise standard normal, of the mean's shape
   */
  public Tensor sample(Tensor noise) {
    return torch.addcmul(mean, logVariance.mul(new Scalar(0.5)).exp(), noise);
  }
}
