package org.glance4j.reference;

import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Compares pictures. */
public final class ImageAssert {
  private ImageAssert() {}

  /**
   * Every pixel within {@code levels} of the expected one.
   *
   * @param expected uint8 [..., height, width, 3]
   * @param rgb row-major, 3 bytes a pixel
   */
  public static void assertClose(String what, Tensor expected, byte[] rgb, double levels) {
    try (PointerScope scope = new PointerScope()) {
      Tensor actual =
          torch.from_blob(
              new BytePointer(rgb),
              expected.sizes().vec().get(),
              new TensorOptions(ScalarType.Byte));
      TensorAssert.assertClose(what, expected, actual, levels);
    }
  }

  /** What a decoder gives, nominally in [-1, 1], in [0, 1]. */
  public static Tensor zeroToOne(Tensor decoded) {
    return decoded.mul(new Scalar(0.5)).add(new Scalar(0.5)).clamp(limit(0), limit(1));
  }

  private static ScalarOptional limit(double value) {
    return new ScalarOptional(new Scalar(value));
  }
}
