package org.glance4j.model.flux;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.model.Attention;
import org.glance4j.weights.Weights;

/**
 * Multi-head self-attention between the projections: q and k are RMS-normalised for each head and
 * rotated by position.
 *
 * @param count number of heads
 * @param dim width of a head
 */
record Heads(int count, int dim) {
  private static final double EPSILON = 1e-6;

  /** Takes the weights of the two norms that {@code q} and {@code k} name; shape [2, 1, dim]. */
  Tensor takeNorms(Weights weights, String q, String k) {
    try (PointerScope scope = new PointerScope()) {
      Tensor qNorm = weights.take(q + ".weight", dim);
      Tensor kNorm = weights.take(k + ".weight", dim);
      Tensor both = weights.keep(torch.stack(new TensorVector(qNorm, kNorm), 0).unsqueeze(1));
      weights.release(qNorm);
      weights.release(kNorm);
      return both;
    }
  }

  /** [batch, tokens, 3 * count * dim] as [batch, tokens, 3, count, dim]: q, k and v. */
  Tensor split(Tensor qkv) {
    return qkv.unflatten(-1, 3, count, dim);
  }

  /**
   * The RMS norm of q and k without its weight, which multiplies the result.
   *
   * @param qkv shape [batch, tokens, 3, count, dim]
   * @return f32, shape [batch, tokens, 2, count, dim]: rotation wants f32, and so does the norm
   */
  Tensor rmsNorm(Tensor qkv) {
    Tensor qk = qkv.narrow(2, 0, 2).to(ScalarType.Float);
    return torch.rms_norm(qk, new long[] {dim}, new TensorOptional(), new DoubleOptional(EPSILON));
  }

  /**
   * Attends.
   *
   * @param qk normed queries and keys, f32, shape [batch, tokens, 2, count, dim]
   * @param qkv where the values are; its type is the result's
   * @return shape [batch, tokens, count * dim]
   */
  Tensor attend(Tensor qk, Tensor qkv, Rope rope) {
    Tensor rotated = rope.rotate(qk).permute(2, 0, 3, 1, 4);
    Tensor values = qkv.select(2, 2).transpose(1, 2);
    return Attention.scaledDotProduct(rotated.select(0, 0), rotated.select(0, 1), values)
        .transpose(1, 2)
        .flatten(2, 3);
  }
}
