package org.glance4j.model.vae;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Conv2d;
import org.glance4j.kernel.SoftmaxAttention;
import org.glance4j.model.Probe;
import org.glance4j.model.TensorScope;

/**
 * One-headed self-attention over all pixels, with a residual.
 *
 * @param qkv a linear of the normalised channels of each pixel, to three times as many: queries,
 *     keys, values
 * @param out a linear of the channels
 */
record PixelAttention(Conv2d qkv, SoftmaxAttention attention, Conv2d out) implements Layer {
  @Override
  public Tensor forward(Tensor x, Probe probe) {
    try (TensorScope scope = new TensorScope()) {
      long channels = x.size(1);
      // [batch, 1 head, pixels, 3 * channels]
      Tensor projected = qkv.forward(x, null).permute(0, 2, 3, 1).flatten(1, 2).unsqueeze(1);
      Tensor q = projected.narrow(3, 0, channels);
      Tensor attended = x.new_empty(x.size(0), q.size(2), 1, channels);
      attention.forward(
          q,
          projected.narrow(3, channels, channels),
          projected.narrow(3, 2 * channels, channels),
          1 / Math.sqrt((double) channels),
          attended);
      Tensor image = attended.view(x.size(0), x.size(2), x.size(3), channels).permute(0, 3, 1, 2);
      return scope.release(out.forward(image, x));
    }
  }
}
