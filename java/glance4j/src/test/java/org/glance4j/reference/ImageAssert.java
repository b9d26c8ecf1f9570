package org.glance4j.reference;

import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.PointerScope;
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
   * @param expected uint8 [height, width, 3]
   * @param rgb row-major, 3 bytes a pixel
   */
  public static void assertClose(String what, Tensor expected, byte[] rgb, double levels) {
    try (PointerScope scope = new PointerScope()) {
      Tensor actual =
          torch.from_blob(
              new BytePointer(rgb),
              new long[] {expected.size(0), expected.size(1), expected.size(2)},
              new TensorOptions(ScalarType.Byte));
      TensorAssert.assertClose(what, expected, actual, levels);
    }
  }
}
