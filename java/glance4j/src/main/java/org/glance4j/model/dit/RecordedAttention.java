package org.glance4j.model.dit;

import java.util.List;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorArrayRefOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.QkNormRope;

/**
 * {@link KernelAttention} with its backward pass. The attention itself is LibTorch's, which keeps
 * what its gradient needs and no matrix of tokens by tokens; q and k are computed back to the
 * projections here.
 */
public final class RecordedAttention {
  private final Heads heads;
  private final Pass pass;
  private final JointAttention.Stream[] streams;
  private final QkNormRope.Joint joint;

  /** With LibTorch's graph from {@link #joint}: [batch, heads, tokens, headDim]. */
  private final Tensor attended;

  private RecordedAttention(
      Heads heads,
      Pass pass,
      JointAttention.Stream[] streams,
      QkNormRope.Joint joint,
      Tensor attended) {
    this.heads = heads;
    this.pass = pass;
    this.streams = streams;
    this.joint = joint;
    this.attended = attended;
  }

  /**
   * Attends.
   *
   * @param attention of the kernels
   * @param streams in the order of their tokens; their projections are kept by the recording
   */
  public static RecordedAttention run(
      JointAttention attention, Recording recording, JointAttention.Stream... streams) {
    Pass pass = recording.pass();
    QkNormRope.Joint joint = ((KernelAttention) attention).joint(pass.rope(), streams);
    Tensor attended;
    try (AutoGradMode recorded = new AutoGradMode(true)) {
      for (Tensor leaf : List.of(joint.q(), joint.k(), joint.v())) {
        recording.keep(leaf).set_requires_grad(true);
      }
      attended =
          recording.keep(TorchAttention.attend(pass.padding(), joint.q(), joint.k(), joint.v()));
    }
    return new RecordedAttention(attention.heads(), pass, streams, joint, attended);
  }

  /** Shape [batch, all tokens, width]; without a graph. */
  public Tensor value() {
    return attended.detach().transpose(1, 2).flatten(2, 3);
  }

  /**
   * The gradient of q, k and v as they were projected.
   *
   * @param gradient of {@link #value()}
   * @return shape [batch, all tokens, 3 * width], contiguous
   */
  public Tensor backward(Tensor gradient) {
    try (AutoGradMode recorded = new AutoGradMode(true)) {
      attended.backward(
          gradient.unflatten(2, heads.count(), heads.dim()).transpose(1, 2),
          new BoolOptional(),
          false,
          new TensorArrayRefOptional());
    }
    Tensor rotated =
        torch.stack(
            new TensorVector(joint.q().grad().transpose(1, 2), joint.k().grad().transpose(1, 2)),
            2);
    Tensor normed = pass.rope().rotateBack(rotated.to(ScalarType.Float));
    Tensor qk = rmsNormBackward(normed.mul_(TorchAttention.norms(streams)));
    Tensor v = joint.v().grad().transpose(1, 2).unsqueeze(2);
    return torch.cat(new TensorVector(qk.to(v.scalar_type()), v), 2).flatten(2, 4);
  }

  /**
   * Back through {@link Heads#rmsNorm}: with n = x r and r = 1 / sqrt(mean(x^2) + epsilon), {@code
   * dx = r (dn - n mean(dn n))} (arXiv 1910.07467).
   *
   * @param gradient f32, shape [batch, tokens, 2, heads, headDim]; changed
   */
  private Tensor rmsNormBackward(Tensor gradient) {
    Tensor x = queriesAndKeys();
    Tensor r =
        x.square()
            .mean(new long[] {-1}, true, new ScalarTypeOptional())
            .add_(new Scalar(Heads.EPSILON))
            .rsqrt_();
    Tensor n = x.mul(r);
    Tensor mean = n.mul(gradient).mean(new long[] {-1}, true, new ScalarTypeOptional());
    return gradient.addcmul_(n, mean, new Scalar(-1)).mul_(r);
  }

  /** q and k as they were projected, of all streams: f32 [batch, tokens, 2, heads, headDim]. */
  private Tensor queriesAndKeys() {
    TensorVector all = new TensorVector();
    for (JointAttention.Stream stream : streams) {
      all.push_back(stream.projected().narrow(2, 0, 2 * heads.width()));
    }
    Tensor joined = all.size() == 1 ? all.get(0) : torch.cat(all, 1);
    return joined.unflatten(-1, 2, heads.count(), heads.dim()).to(ScalarType.Float);
  }
}
