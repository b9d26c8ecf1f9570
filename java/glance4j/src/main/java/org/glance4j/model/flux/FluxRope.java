package org.glance4j.model.flux;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.model.dit.Rope;

/** How FLUX numbers its tokens: an image's by row and column, all of a text's with 0. */
final class FluxRope {
  private FluxRope() {}

  /** The rotations of the text, then the image; they belong to the caller's scope. */
  static Rope of(int textTokens, PackedLatents size, List<Integer> axes) {
    Tensor text =
        torch.zeros(new long[] {textTokens, axes.size()}, new TensorOptions(ScalarType.Float));
    return of(torch.cat(new TensorVector(text, size.positions(0, 0)), 0), axes);
  }

  /** The rotations of tokens at {@code positions}, shape [tokens, axes]. */
  static Rope of(Tensor positions, List<Integer> axes) {
    return Rope.of(positions, axes, ScalarType.Double);
  }
}
