package org.glance4j.model;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Softmax attention without a mask. */
public final class Attention {
  private Attention() {}

  /**
   * {@code softmax(q k^T / sqrt(d)) v}.
   *
   * @param query shape [batch, heads, queries, d]
   * @param key shape [batch, heads, keys, d]
   * @param value shape [batch, heads, keys, d]; its type is the result's
   * @return shape [batch, heads, queries, d]
   */
  public static Tensor scaledDotProduct(Tensor query, Tensor key, Tensor value) {
    ScalarType dtype = value.scalar_type().intern();
    // LibTorch's CPU attention is some 20 times slower in bf16 than in f32.
    ScalarType compute = value.is_cpu() && dtype != ScalarType.Double ? ScalarType.Float : dtype;
    return torch
        .scaled_dot_product_attention(query.to(compute), key.to(compute), value.to(compute))
        .to(dtype);
  }
}
