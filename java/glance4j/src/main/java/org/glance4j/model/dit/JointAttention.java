package org.glance4j.model.dit;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Backend;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.model.LoraLinears;

/**
 * Multi-head self-attention of all tokens, from the projections of one or more streams of them to
 * what the output projections read: q and k are normalised, rotated by position, and all tokens
 * attend to each other.
 */
public abstract sealed class JointAttention permits TorchAttention, KernelAttention {
  /**
   * Some of the tokens.
   *
   * @param projected shape [batch, tokens, columns], of which the first are q, k and v
   * @param norms of q and k
   */
  public record Stream(Tensor projected, Heads.Norms norms) {
    long tokens() {
      return projected.size(1);
    }
  }

  private final Heads heads;

  JointAttention(Heads heads) {
    this.heads = heads;
  }

  /** The attention on a backend. */
  public static JointAttention on(Backend backend, Heads heads) {
    return backend == Backend.TORCH
        ? new TorchAttention(heads)
        : new KernelAttention(heads, backend);
  }

  /** The heads. */
  public final Heads heads() {
    return heads;
  }

  /**
   * Attends.
   *
   * @param pass with the rotations of all tokens
   * @param streams in the order of their tokens
   * @return shape [batch, all tokens, heads, headDim], in the streams' type
   */
  abstract Tensor attend(Pass pass, Stream... streams);

  /**
   * Projects x to q, k, v and a hidden layer, in the form that {@link #attendBeside} reads.
   *
   * @param in those linears, the hidden layer's last, with the GELU of it
   */
  public abstract Tensor projectBeside(LoraLinears in, Tensor x, AdapterChoice mix);

  /**
   * Attends and puts the result beside a hidden layer that was projected with q, k and v.
   *
   * @param pass with the rotations of all tokens
   * @param stream from {@link #projectBeside}, shape [batch, tokens, 3 * width + hidden]; not to be
   *     used afterwards
   * @return shape [batch, tokens, width + hidden]
   */
  public abstract Tensor attendBeside(Pass pass, Stream stream);

  /** The rows of one stream: shape [batch, count, width], contiguous. */
  Tensor rows(Tensor attended, long first, long count) {
    return attended.narrow(1, first, count).contiguous().flatten(2, 3);
  }
}
