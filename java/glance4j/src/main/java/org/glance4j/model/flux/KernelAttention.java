package org.glance4j.model.flux;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.QkNormRope;
import org.glance4j.kernel.SoftmaxAttention;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.model.LoraLinears;

/**
 * {@link JointAttention} on the kernels: each stream is normed and rotated straight into its place
 * among all tokens.
 */
final class KernelAttention extends JointAttention {
  private final QkNormRope normRope;
  private final SoftmaxAttention attention;
  private final double scale;

  KernelAttention(Heads heads, Backend backend) {
    super(heads);
    this.normRope = QkNormRope.on(backend);
    this.attention = SoftmaxAttention.on(backend);
    this.scale = 1 / Math.sqrt((double) heads.dim());
  }

  @Override
  Tensor attend(Rope rope, Stream... streams) {
    Tensor projected = streams[0].projected();
    Tensor out = projected.new_empty(projected.size(0), rope.tokens(), heads.count(), heads.dim());
    attend(rope, out, streams);
    return out;
  }

  @Override
  Tensor projectBeside(LoraLinears in, Tensor x, AdapterChoice mix) {
    return in.forward(x, mix);
  }

  @Override
  Tensor attendBeside(Rope rope, Stream stream) {
    // The values lie next to the hidden layer, and are read before the result takes their place.
    Tensor projected = stream.projected();
    long width = heads.width();
    Tensor values = projected.narrow(2, 2 * width, width);
    attend(rope, values.unflatten(2, heads.count(), heads.dim()), stream);
    return projected.narrow(2, 2 * width, projected.size(2) - 2 * width);
  }

  private void attend(Rope rope, Tensor out, Stream... streams) {
    Tensor projected = streams[0].projected();
    long[] shape = {projected.size(0), heads.count(), rope.tokens(), heads.dim()};
    QkNormRope.Joint joint =
        new QkNormRope.Joint(
            projected.new_empty(shape), projected.new_empty(shape), projected.new_empty(shape));
    long first = 0;
    for (Stream stream : streams) {
      normRope.forward(
          stream.projected(),
          heads.count(),
          stream.norms().q(),
          stream.norms().k(),
          Heads.EPSILON,
          rope.angles(),
          first,
          joint);
      first += stream.tokens();
    }
    attention.forward(joint.q(), joint.k(), joint.v(), scale, out);
  }
}
