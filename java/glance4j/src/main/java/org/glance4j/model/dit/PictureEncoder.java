package org.glance4j.model.dit;

import java.util.Arrays;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.model.ImageSize;
import org.glance4j.model.PictureLatents;
import org.glance4j.model.vae.LatentDistribution;
import org.glance4j.model.vae.LatentScale;
import org.glance4j.model.vae.Pixels;
import org.glance4j.model.vae.Vae;

/** From a picture to the packed distribution of its latents. */
public final class PictureEncoder {
  private static final int CHANNELS = 3;

  private PictureEncoder() {}

  /**
   * Encodes.
   *
   * @param vae where {@code backend} computes
   * @param picture u8 [height, width, 3], both sides multiples of {@code multiple}
   */
  public static PictureLatents encode(Vae vae, Backend backend, Tensor picture, int multiple) {
    ImageSize size = size(picture);
    size.requireMultipleOf(multiple);
    PackedLatents layout =
        PackedLatents.forImage(
            vae.latentChannels(), vae.pixelsPerLatent(), size.height(), size.width());
    try (PointerScope scope = new PointerScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      Tensor pixels = backend.place(Pixels.toUnitRange(picture.unsqueeze(0)));
      LatentDistribution latents = vae.encode(pixels);
      Tensor deviation = latents.logVariance().mul(new Scalar(0.5)).exp();
      LatentScale scale = vae.latentScale();
      return new PictureLatents(
          size,
          layout.pack(latents.mean()).retainReference(),
          layout.pack(deviation).retainReference(),
          packOne(scale.shiftOf(deviation)).retainReference(),
          packOne(scale.scalingOf(deviation)).retainReference());
    }
  }

  /** One token of values that every pixel has: [1, channels, 1, 1] to [1, 1, channels * 4]. */
  private static Tensor packOne(Tensor values) {
    PackedLatents layout = new PackedLatents((int) values.size(1), 2, 2);
    return layout.pack(values.expand(1, layout.channels(), 2, 2));
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
