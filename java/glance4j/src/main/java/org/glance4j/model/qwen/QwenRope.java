package org.glance4j.model.qwen;

import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.model.dit.Rope;

/**
 * How Qwen-Image numbers its tokens (MSRoPE, arXiv 2508.02324): an image's by row and column from
 * its centre, a text's along the diagonal from the image's corner on.
 */
final class QwenRope {
  private QwenRope() {}

  /** The rotations of the text, then the image; they belong to the caller's scope. */
  static Rope of(int textTokens, PackedLatents size, List<Integer> axes) {
    int rowsBelow = size.rows() / 2;
    int columnsRight = size.columns() / 2;
    Tensor image = size.positions(rowsBelow - size.rows(), columnsRight - size.columns());
    Tensor text = diagonal(Math.max(rowsBelow, columnsRight), textTokens, axes.size());
    return Rope.of(torch.cat(new TensorVector(text, image), 0), axes, ScalarType.Float);
  }

  private static Tensor diagonal(int first, int count, long axes) {
    return torch
        .arange(new Scalar(first), new Scalar(first + count), new TensorOptions(ScalarType.Float))
        .view(count, 1)
        .expand(count, axes);
  }
}
