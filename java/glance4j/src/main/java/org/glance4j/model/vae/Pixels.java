package org.glance4j.model.vae;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Between 8-bit pictures and what the VAE reads and writes. */
public final class Pixels {
  private static final double LEVELS = 255;

  private Pixels() {}

  /**
   * Pictures as the encoder wants them.
   *
   * @param pictures u8, shape [batch, height, width, channels]
   * @return f32 in [-1, 1], shape [batch, channels, height, width]
   */
  public static Tensor toUnitRange(Tensor pictures) {
    return pictures
        .to(ScalarType.Float)
        .div(new Scalar(LEVELS))
        .mul(new Scalar(2))
        .sub(new Scalar(1))
        .permute(0, 3, 1, 2)
        .contiguous();
  }

  /**
   * The decoder's output in [0, 1]; what is outside is cut.
   *
   * @param decoded nominally in [-1, 1]
   */
  public static Tensor toZeroOne(Tensor decoded) {
    return decoded
        .mul(new Scalar(0.5))
        .add_(new Scalar(0.5))
        .clamp_(new ScalarOptional(new Scalar(0)), new ScalarOptional(new Scalar(1)));
  }

  /**
   * The decoder's output as pictures; a value halfway between two levels goes to the even one.
   *
   * @param decoded f32, nominally in [-1, 1], shape [batch, channels, height, width]
   * @return u8, shape [batch, height, width, channels]
   */
  public static Tensor toBytes(Tensor decoded) {
    return toZeroOne(decoded)
        .mul_(new Scalar(LEVELS))
        .round_()
        .to(ScalarType.Byte)
        .permute(0, 2, 3, 1)
        .contiguous();
  }
}
