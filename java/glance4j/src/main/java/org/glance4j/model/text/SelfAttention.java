package org.glance4j.model.text;

import java.util.List;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Multi-head self-attention: {@code softmax(scale * q k^T + bias) v}, projected by {@code out}. The
 * softmax runs in float32, because LibTorch's CPU attention is some 20 times slower in bfloat16.
 *
 * @param projections to queries, keys and values. Keys and values may have fewer heads than
 *     queries, each shared by as many neighbouring query heads (grouped queries, arXiv 2305.13245)
 * @param headWidth of each head
 */
record SelfAttention(Linear projections, Linear out, int headWidth, double scale) {

  /** Each position sees itself and those before it. x: [batch, n, width]. */
  Tensor causal(Tensor x) {
    return attend(heads(x), x, new TensorOptional(), true);
  }

  /** As {@link #causal(Tensor)}, with queries and keys turned by their {@code positions}. */
  Tensor causal(Tensor x, Rotation positions) {
    List<Tensor> qkv = heads(x);
    List<Tensor> turned =
        List.of(positions.rotate(qkv.get(0)), positions.rotate(qkv.get(1)), qkv.get(2));
    return attend(turned, x, new TensorOptional(), true);
  }

  /**
   * Every position sees all.
   *
   * @param x [batch, n, width]
   * @param bias added to the scores: [1, heads, n, n], float32
   */
  Tensor biased(Tensor x, Tensor bias) {
    return attend(heads(x), x, new TensorOptional(bias), false);
  }

  private Tensor attend(List<Tensor> qkv, Tensor x, TensorOptional bias, boolean causal) {
    Tensor q = qkv.get(0);
    Tensor k = qkv.get(1);
    boolean shared = k.size(1) != q.size(1);
    Tensor attended =
        torch.scaled_dot_product_attention(
            q, k, qkv.get(2), bias, 0, causal, new DoubleOptional(scale), shared);
    Tensor joined = attended.transpose(1, 2).flatten(2, 3);
    return out.apply(joined.to(x.scalar_type()));
  }

  /** Queries, keys and values: float32 [batch, their heads, n, headWidth]. */
  private List<Tensor> heads(Tensor x) {
    long[] split = {x.size(0), x.size(1), -1, headWidth};
    return projections.applyAll(x).stream()
        .map(y -> y.to(ScalarType.Float).view(split).transpose(1, 2))
        .toList();
  }
}
