package org.glance4j.reference;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.fail;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Compares tensors and says where they differ. */
public final class TensorAssert {
  private TensorAssert() {}

  /** Every element equal, whatever the types. */
  public static void assertExact(String what, Tensor expected, Tensor actual) {
    assertClose(what, expected, actual, 0);
  }

  /** Every element within {@code tolerance} of the expected one (absolute), on any device. */
  public static void assertClose(String what, Tensor expected, Tensor actual, double tolerance) {
    try (PointerScope scope = new PointerScope()) {
      assertArrayEquals(
          expected.sizes().vec().get(), actual.sizes().vec().get(), what + ": shape differs");
      if (expected.numel() == 0) {
        return;
      }
      Tensor want = expected.cpu().to(ScalarType.Double).contiguous().view(-1);
      Tensor have = actual.cpu().to(ScalarType.Double).contiguous().view(-1);
      Tensor difference = have.sub(want).abs();
      Tensor worst = difference.argmax();
      double error = difference.max().item_double();
      // Not "error > tolerance": a NaN must fail.
      if (!(error <= tolerance)) {
        long at = worst.item_long();
        fail(
            "%s: max abs error %.3g > %.3g at flat index %d: expected %.9g, got %.9g"
                .formatted(
                    what,
                    error,
                    tolerance,
                    at,
                    want.select(0, at).item_double(),
                    have.select(0, at).item_double()));
      }
    }
  }
}
