package org.glance4j.model.text;

import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Multi-head self-attention: {@code softmax(scale * q k^T + bias) v}, projected by {@code out}. The
 * softmax runs in float32, because LibTorch's CPU attention is some 20 times slower in bfloat16.
 *
 * @param heads of the queries; keys and values may have fewer, of the same width, each shared by as
 *     many neighbouring query heads (grouped queries, arXiv 2305.13245)
 */
record SelfAttention(Linear query, Linear key, Linear value, Linear out, int heads, double scale) {

  /** Each position sees itself and those before it. x: [batch, n, width]. */
  Tensor causal(Tensor x) {
    return attend(x, heads(query.apply(x)), heads(key.apply(x)), new TensorOptional(), true);
  }

  /** As {@link #causal(Tensor)}, with queries and keys turned by their {@code positions}. */
  Tensor causal(Tensor x, Rotation positions) {
    Tensor q = positions.rotate(heads(query.apply(x)));
    Tensor k = positions.rotate(heads(key.apply(x)));
    return attend(x, q, k, new TensorOptional(), true);
  }

  /**
   * Every position sees all.
   *
   * @param x [batch, n, width]
   * @param bias added to the scores: [1, heads, n, n], float32
   */
  Tensor biased(Tensor x, Tensor bias) {
    return attend(x, heads(query.apply(x)), heads(key.apply(x)), new TensorOptional(bias), false);
  }

  private Tensor attend(Tensor x, Tensor q, Tensor k, TensorOptional bias, boolean causal) {
    boolean shared = k.size(1) != q.size(1);
    Tensor attended =
        torch.scaled_dot_product_attention(
            q, k, heads(value.apply(x)), bias, 0, causal, new DoubleOptional(scale), shared);
    Tensor joined = attended.transpose(1, 2).flatten(2, 3);
    return out.apply(joined.to(x.scalar_type()));
  }

  /** [batch, n, some heads * width] to float32 [batch, those heads, n, width]. */
  private Tensor heads(Tensor x) {
    long headWidth = query.weight().size(0) / heads;
    long[] split = {x.size(0), x.size(1), -1, headWidth};
    return x.to(ScalarType.Float).view(split).transpose(1, 2);
  }
}
