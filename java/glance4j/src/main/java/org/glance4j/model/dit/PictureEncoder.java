package org.glance4j.model.dit;

import java.util.Arrays;
import java.util.function.Function;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.model.ImageSize;
import org.glance4j.model.PictureLatents;
import org.glance4j.model.vae.LatentDistribution;
import org.glance4j.model.vae.Pixels;

/**
 * From a picture to the packed distribution of its latents.
 *
 * @param layout the latents of a picture's size
 * @param vae the VAE's encoder, from [1, 3, height, width] in [-1, 1]
 * @param shift what the transformer's latents have less than the VAE's, before the scaling
 * @param scaling what the transformer's latents are multiplied by
 * @param backend where the VAE computes
 */
public record PictureEncoder(
    Function<ImageSize, PackedLatents> layout,
    Function<Tensor, LatentDistribution> vae,
    double shift,
    double scaling,
    Backend backend) {
  private static final int CHANNELS = 3;

  /**
   * Encodes.
   *
   * @param picture u8 [height, width, 3], both sides multiples of {@code multiple}
   * @return what outlives the caller's scope
   */
  public PictureLatents encode(Tensor picture, int multiple) {
    ImageSize size = size(picture);
    size.requireMultipleOf(multiple);
    PackedLatents packed = layout.apply(size);
    try (PointerScope scope = new PointerScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      Tensor pixels = backend.place(Pixels.toUnitRange(picture.unsqueeze(0)));
      LatentDistribution latents = vae.apply(pixels);
      Tensor deviation = latents.logVariance().mul(new Scalar(0.5)).exp();
      return new PictureLatents(
          size,
          packed.pack(latents.mean()).retainReference(),
          packed.pack(deviation).retainReference(),
          shift,
          scaling);
    }
  }

  private static ImageSize size(Tensor picture) {
    boolean fits =
        picture.dim() == 3
            && picture.size(2) == CHANNELS
            && picture.scalar_type().intern() == ScalarType.Byte;
    if (!fits) {
      throw new IllegalArgumentException(
          "picture has shape %s and type %s; it must be u8 [height, width, 3]"
              .formatted(
                  Arrays.toString(picture.sizes().vec().get()), picture.scalar_type().intern()));
    }
    return new ImageSize(Math.toIntExact(picture.size(1)), Math.toIntExact(picture.size(0)));
  }
}
