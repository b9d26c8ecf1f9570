package org.glance4j.model.text;

import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Multi-head self-attention: {@code softmax(scale * q k^T + bias) v}, projected by {@code out}. The
 * softmax runs in float32, because LibTorch's CPU attention is some 20 times slower in bfloat16.
 */
record SelfAttention(Linear query, Linear key, Linear value, Linear out, int heads, double scale) {

  /** Each position sees itself and those before it. x: [batch, n, width]. */
  Tensor causal(Tensor x) {
    return attend(x, new TensorOptional(), true);
  }

  /**
   * Every position sees all.
   *
   * @param x [batch, n, width]
   * @param bias added to the scores: [1, heads, n, n], float32
   */
  Tensor biased(Tensor x, Tensor bias) {
    return attend(x, new TensorOptional(bias), false);
  }

  private Tensor attend(Tensor x, TensorOptional bias, boolean causal) {
    Tensor attended =
        torch.scaled_dot_product_attention(
            heads(query.apply(x)),
            heads(key.apply(x)),
            heads(value.apply(x)),
            bias,
            0,
            causal,
            new DoubleOptional(scale),
            false);
    long innerWidth = heads * attended.size(3);
    Tensor joined = attended.transpose(1, 2).reshape(x.size(0), x.size(1), innerWidth);
    return out.apply(joined.to(x.scalar_type()));
  }

  /** [batch, n, heads * width] to float32 [batch, heads, n, width]. */
  private Tensor heads(Tensor x) {
    long[] split = {x.size(0), x.size(1), heads, x.size(2) / heads};
    return x.to(ScalarType.Float).view(split).transpose(1, 2);
  }
}
