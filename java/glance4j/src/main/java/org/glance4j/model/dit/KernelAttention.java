package org.glance4j.model.dit;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.QkNormRope;
import org.glance4j.kernel.SoftmaxAttention;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.model.LoraLinears;
import org.glance4j.model.TensorScope;

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
  Tensor attend(Pass pass, Stream... streams) {
    Tensor projected = streams[0].projected();
    Tensor out =
        projected.new_empty(
            projected.size(0), pass.rope().tokens(), heads().count(), heads().dim());
    attend(pass, out, streams);
    return out;
  }

  @Override
  public Tensor projectBeside(LoraLinears in, Tensor x, AdapterChoice mix) {
    return in.forward(x, mix);
  }

  @Override
  public Tensor attendBeside(Pass pass, Stream stream) {
    // The values lie next to the hidden layer, and are read before the result takes their place.
    Tensor projected = stream.projected();
    long width = heads().width();
    Tensor values = projected.narrow(2, 2 * width, width);
    attend(pass, values.unflatten(2, heads().count(), heads().dim()), stream);
    return projected.narrow(2, 2 * width, projected.size(2) - 2 * width);
  }

  private void attend(Pass pass, Tensor out, Stream... streams) {
    QkNormRope.Joint joint = joint(pass.rope(), streams);
    TextPadding padding = pass.padding();
    if (padding == null) {
      attention.forward(joint.q(), joint.k(), joint.v(), scale, out);
    } else {
      attend(padding, joint, out);
    }
  }

  /** q, k and v of all tokens as attention reads them. */
  QkNormRope.Joint joint(Rope rope, Stream... streams) {
    Tensor projected = streams[0].projected();
    long[] shape = {projected.size(0), heads().count(), rope.tokens(), heads().dim()};
    QkNormRope.Joint joint =
        new QkNormRope.Joint(
            projected.new_empty(shape), projected.new_empty(shape), projected.new_empty(shape));
    long first = 0;
    for (Stream stream : streams) {
      normRope.forward(
          stream.projected(),
          heads().count(),
          stream.norms().q(),
          stream.norms().k(),
          Heads.EPSILON,
          rope.angles(),
          first,
          joint);
      first += stream.tokens();
    }
    return joint;
  }

  private void attend(TextPadding padding, QkNormRope.Joint joint, Tensor out) {
    for (int i = 0; i < padding.samples(); i++) {
      try (TensorScope scope = new TensorScope()) {
        attention.forward(
            joint.q().narrow(0, i, 1),
            padding.attended(joint.k(), i),
            padding.attended(joint.v(), i),
            scale,
            out.narrow(0, i, 1));
      }
    }
  }
}
