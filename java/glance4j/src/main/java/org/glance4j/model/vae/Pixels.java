package org.glance4j.model.vae;

import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Between 8-bit pictures and what the VAE reads and writes. */
public final class Pixels {
  private static final float LEVELS = 255;

  /** Its sum with a level has no digits behind the point left, and the level in its last bits. */
  private static final float ROUNDS = 1 << 23;

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
   * The decoder's output as pictures, {@code round(255 (x + 1) / 2)} of each value in f32: what is
   * outside is cut, and a value halfway between two levels goes to the even one. One pass, in place
   * of six operations of LibTorch's.
   *
   * @param decoded f32, nominally in [-1, 1], shape [batch, channels, height, width]
   * @return [batch, height, width, channels], row by row
   */
  public static byte[] toBytes(Tensor decoded) {
    Tensor rows = decoded.permute(0, 2, 3, 1).contiguous().cpu();
    float[] values = new float[Math.toIntExact(rows.numel())];
    new FloatPointer(rows.data_ptr_float()).get(values);
    byte[] levels = new byte[values.length];
    for (int i = 0; i < values.length; i++) {
      levels[i] = level(values[i]);
    }
    return levels;
  }

  private static byte level(float value) {
    float zeroToOne = value * 0.5f + 0.5f;
    if (!(zeroToOne > 0)) { // NaN too
      return 0;
    }
    return (byte) Float.floatToRawIntBits(Math.min(zeroToOne, 1) * LEVELS + ROUNDS);
  }
}
