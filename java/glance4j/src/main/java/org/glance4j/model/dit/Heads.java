package org.glance4j.model.dit;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.weights.Weights;

/**
 * The heads of an attention: q and k are RMS-normalised for each of them.
 *
 * @param count number of heads
 * @param dim width of a head
 */
public record Heads(int count, int dim) {
  static final double EPSILON = 1e-6;

  /**
   * The weights of the norms of q and k.
   *
   * @param both shape [2, 1, dim]
   * @param q the first of them, shape [dim]
   * @param k the second
   */
  public record Norms(Tensor both, Tensor q, Tensor k) {}

  /** All heads side by side. */
  public long width() {
    return (long) count * dim;
  }

  /** Takes the weights of the two norms that {@code q} and {@code k} name. */
  public Norms takeNorms(Weights weights, String q, String k) {
    try (PointerScope scope = new PointerScope()) {
      Tensor qNorm = weights.take(q + ".weight", dim);
      Tensor kNorm = weights.take(k + ".weight", dim);
      Tensor both = weights.keep(torch.stack(new TensorVector(qNorm, kNorm), 0).unsqueeze(1));
      weights.release(qNorm);
      weights.release(kNorm);
      return new Norms(
          both,
          weights.keep(both.select(0, 0).select(0, 0)),
          weights.keep(both.select(0, 1).select(0, 0)));
    }
  }

  /**
   * q, k and v of each head.
   *
   * @param projected shape [batch, tokens, columns], of which the first are q, k and v
   * @return shape [batch, tokens, 3, count, dim]
   */
  Tensor split(Tensor projected) {
    Tensor qkv = projected.size(2) == 3 * width() ? projected : projected.narrow(2, 0, 3 * width());
    return qkv.unflatten(-1, 3, count, dim);
  }

  /**
   * The RMS norm of q and k without its weight, which multiplies the result.
   *
   * @param qk shape [batch, tokens, 2, count, dim]
   * @return f32, shape [batch, tokens, 2, count, dim]: rotation wants f32, and so does the norm
   */
  Tensor rmsNorm(Tensor qk) {
    Tensor floats = qk.to(ScalarType.Float);
    return torch.rms_norm(
        floats, new long[] {dim}, new TensorOptional(), new DoubleOptional(EPSILON));
  }
}
