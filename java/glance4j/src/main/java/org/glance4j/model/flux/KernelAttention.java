package org.glance4j.model.flux;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.QkNormRope;

/**
 * {@link JointAttention} on the kernels: each stream is normed and rotated straight into its place
 * among all tokens.
 */
final class KernelAttention extends JointAttention {
  /** LibTorch's CPU attention is some 20 times slower in bf16 than in f32. */
  private static final ScalarType COMPUTE = ScalarType.Float;

  private final QkNormRope normRope;
  private final TensorOptions options;

  KernelAttention(Heads heads, Backend backend) {
    super(heads);
    this.normRope = QkNormRope.on(backend);
    this.options = new TensorOptions(COMPUTE).retainReference();
  }

  @Override
  Tensor attend(Rope rope, Stream... streams) {
    long[] shape = {streams[0].projected().size(0), heads.count(), rope.tokens(), heads.dim()};
    QkNormRope.Joint joint = new QkNormRope.Joint(empty(shape), empty(shape), empty(shape));
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
    return torch.scaled_dot_product_attention(joint.q(), joint.k(), joint.v()).transpose(1, 2);
  }

  private Tensor empty(long... shape) {
    return torch.empty(shape, options, null);
  }

  @Override
  Tensor beside(Tensor attended, Tensor projected) {
    // The values lie next to the hidden layer, and attention is done with them.
    long width = heads.width();
    projected.narrow(2, 2 * width, width).unflatten(2, heads.count(), heads.dim()).copy_(attended);
    return projected.narrow(2, 2 * width, projected.size(2) - 2 * width);
  }
}
