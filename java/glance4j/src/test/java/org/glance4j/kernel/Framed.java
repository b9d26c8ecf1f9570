package org.glance4j.kernel;

import static org.junit.jupiter.api.Assertions.assertTrue;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** A tensor inside a wider one whose other elements are NaN. */
record Framed(Tensor frame, Tensor view) {
  /**
   * A tensor full of NaN.
   *
   * @param gap elements before each row; an odd number also leaves rows unaligned
   */
  static Framed poisoned(long gap, ScalarType type, long... shape) {
    long[] wide = shape.clone();
    int last = wide.length - 1;
    wide[last] += gap;
    Tensor frame =
        TestScope.full(wide, new Scalar(Double.NaN), new TensorOptions(type)).contiguous();
    return new Framed(frame, frame.narrow(last, gap, shape[last]));
  }

  /** Standard normal values, rounded to the type. */
  static Framed random(long gap, ScalarType type, long... shape) {
    Framed framed = poisoned(gap, type, shape);
    framed.view.copy_(torch.randn(shape));
    return framed;
  }

  /** Call it last: it overwrites the view. */
  void assertFrameUntouched(String what) {
    view.fill_(new Scalar(Double.NaN));
    assertTrue(frame.isnan().all().item_bool(), what + ": wrote outside the tensor");
  }
}
