package org.glance4j.kernel;

import java.util.Arrays;
import org.bytedeco.pytorch.Tensor;

/**
 * A tensor as kernels see it: rows of elements that lie side by side, at even distances.
 *
 * @param rows the product of all dimensions but the last
 * @param columns the last dimension
 * @param stride elements from one row to the next
 */
record RowLayout(long rows, long columns, long stride) {

  /**
   * The layout of {@code tensor}.
   *
   * @throws IllegalArgumentException that names the argument, if it has no such layout
   */
  static RowLayout of(String argument, Tensor tensor) {
    int last = Math.toIntExact(tensor.dim()) - 1;
    if (last < 0) {
      return new RowLayout(1, 1, 1);
    }
    long columns = tensor.size(last);
    if (tensor.numel() == 0) {
      return new RowLayout(0, columns, columns);
    }
    if (columns > 1 && tensor.stride(last) != 1) {
      throw uneven(argument, tensor);
    }
    long rows = 1;
    long stride = columns;
    for (int d = last - 1; d >= 0; d--) {
      if (tensor.size(d) > 1) {
        if (rows == 1) {
          stride = tensor.stride(d);
        } else if (tensor.stride(d) != rows * stride) {
          throw uneven(argument, tensor);
        }
        rows *= tensor.size(d);
      }
    }
    if (stride < columns) {
      throw uneven(argument, tensor);
    }
    return new RowLayout(rows, columns, stride);
  }

  private static IllegalArgumentException uneven(String argument, Tensor tensor) {
    return new IllegalArgumentException(
        argument
            + " of shape "
            + Arrays.toString(tensor.sizes().vec().get())
            + " and strides "
            + Arrays.toString(tensor.strides().vec().get())
            + " is not made of evenly spaced rows; pass "
            + argument
            + ".contiguous()");
  }
}
