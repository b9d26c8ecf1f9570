package org.glance4j.kernel;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * From a layer's q, k and v projections to what attention reads: q and k RMS-normalised for each
 * head and rotated by position, v as it is, all three moved to a layout with the heads outside.
 *
 * <pre>
 *   n = x / sqrt(mean(x^2) + epsilon) * weight                       over one head's dim channels
 *   out[2j]     = n[2j] * cos[j] - n[2j + 1] * sin[j]
 *   out[2j + 1] = n[2j] * sin[j] + n[2j + 1] * cos[j]                j = 0 ... dim / 2 - 1
 * </pre>
 *
 * <p>All in f32; a result is rounded once, when stored. Inputs and weights are all f32, all bf16 or
 * all f16, outputs too; f16 not on the CPU. {@link Backend#TORCH} records gradients; the others
 * refuse tensors that require one. Rotary embedding: arXiv 2104.09864.
 *
 * <p>Immutable and thread-safe.
 */
public final class QkNormRope {
  private final Backend backend;

  private QkNormRope(Backend backend) {
    this.backend = backend;
  }

  /**
   * The operation on a backend.
   *
   * @throws org.glance4j.NativeLoadException if the backend cannot run on this machine
   */
  public static QkNormRope on(Backend backend) {
    return new QkNormRope(backend.resolve());
  }

  /** Where this runs: never {@link Backend#AUTO}. */
  public Backend backend() {
    return backend;
  }

  /**
   * Norms, rotates and moves.
   *
   * @param q [batch, tokens, heads, dim], a view of a projection: dim side by side, heads dim
   *     apart; dim even
   * @param k as q, with the same strides
   * @param v as q, with the same strides; null exactly if vOut is
   * @param qWeight [dim]
   * @param kWeight [dim]
   * @param epsilon 0 or more
   * @param rotation cos and sin in turn, f32 [tokens, dim / 2, 2], contiguous
   * @param qOut [batch, heads, tokens, dim], dim side by side: for example a part of the tokens of
   *     a longer sequence
   * @param kOut as qOut, with the same strides
   * @param vOut as qOut, with the same strides
   * @throws IllegalArgumentException that names the argument, for shapes, types, devices or layouts
   *     that do not fit
   */
  public void forward(
      Tensor q,
      Tensor k,
      @Nullable Tensor v,
      Tensor qWeight,
      Tensor kWeight,
      double epsilon,
      Tensor rotation,
      Tensor qOut,
      Tensor kOut,
      @Nullable Tensor vOut) {
    check(q, k, v, qWeight, kWeight, epsilon, rotation, qOut, kOut, vOut);
    if (backend == Backend.TORCH) {
      TorchQkNormRope.forward(q, k, v, qWeight, kWeight, epsilon, rotation, qOut, kOut, vOut);
    } else {
      NativeQkNormRope.forward(
          backend, q, k, v, qWeight, kWeight, epsilon, rotation, qOut, kOut, vOut);
    }
  }

  private void check(
      Tensor q,
      Tensor k,
      @Nullable Tensor v,
      Tensor qWeight,
      Tensor kWeight,
      double epsilon,
      Tensor rotation,
      Tensor qOut,
      Tensor kOut,
      @Nullable Tensor vOut) {
    if (q.dim() != 4 || q.size(3) % 2 != 0) {
      throw new IllegalArgumentException(
          "q has shape %s; it must have [batch, tokens, heads, an even dim]"
              .formatted(TensorChecks.shape(q)));
    }
    if ((v == null) != (vOut == null)) {
      throw new IllegalArgumentException("v and vOut must both be given or both be null");
    }
    requireEpsilon(epsilon);
    int dtype = TensorChecks.dtype("q", q);
    TensorChecks.operand(backend, dtype, "q", q);
    input(dtype, "k", k, q);
    if (v != null) {
      input(dtype, "v", v, q);
    }
    weight(dtype, "qWeight", qWeight, q.size(3));
    weight(dtype, "kWeight", kWeight, q.size(3));
    checkRotation(rotation, q.size(1), q.size(3));
    int outDtype = TensorChecks.dtype("qOut", qOut);
    output(outDtype, "qOut", qOut, q);
    output(outDtype, "kOut", kOut, q);
    if (vOut != null) {
      output(outDtype, "vOut", vOut, q);
    }
  }

  private void input(int dtype, String argument, Tensor tensor, Tensor q) {
    TensorChecks.operand(backend, dtype, argument, tensor);
    TensorChecks.shape(argument, tensor, q.size(0), q.size(1), q.size(2), q.size(3));
  }

  private void weight(int dtype, String argument, Tensor weight, long dim) {
    TensorChecks.operand(backend, dtype, argument, weight);
    TensorChecks.shape(argument, weight, dim);
  }

  private void output(int dtype, String argument, Tensor tensor, Tensor q) {
    TensorChecks.operand(backend, dtype, argument, tensor);
    TensorChecks.shape(argument, tensor, q.size(0), q.size(2), q.size(1), q.size(3));
  }

  /**
   * The same from one projection with q, k and v side by side to a place in a joint sequence.
   *
   * @param projected [batch, tokens, columns]; its first 3 * heads * dim columns are q, k and v
   * @param heads how many heads there are
   * @param qWeight [dim]
   * @param kWeight [dim]
   * @param epsilon 0 or more
   * @param rotation of the whole sequence, f32 [all tokens, dim / 2, 2], contiguous
   * @param first the token of the sequence that the projection's first one is
   * @param joint where the sequence is put together
   * @throws IllegalArgumentException that names the argument, for shapes, types, devices or layouts
   *     that do not fit
   */
  public void forward(
      Tensor projected,
      long heads,
      Tensor qWeight,
      Tensor kWeight,
      double epsilon,
      Tensor rotation,
      long first,
      Joint joint) {
    check(projected, heads, qWeight, kWeight, epsilon, rotation, first, joint);
    if (backend == Backend.TORCH) {
      TorchQkNormRope.forward(projected, heads, qWeight, kWeight, epsilon, rotation, first, joint);
    } else {
      NativeQkNormRope.forward(
          backend, projected, heads, qWeight, kWeight, epsilon, rotation, first, joint);
    }
  }

  private void check(
      Tensor projected,
      long heads,
      Tensor qWeight,
      Tensor kWeight,
      double epsilon,
      Tensor rotation,
      long first,
      Joint joint) {
    int dtype = TensorChecks.dtype("projected", projected);
    TensorChecks.operand(backend, dtype, "projected", projected);
    if (joint.q().dim() != 4 || joint.q().size(1) != heads || joint.q().size(3) % 2 != 0) {
      throw new IllegalArgumentException(
          "joint.q has shape %s; it must have [batch, %d, all tokens, an even dim]"
              .formatted(TensorChecks.shape(joint.q()), heads));
    }
    long tokens = joint.q().size(2);
    long dim = joint.q().size(3);
    if (projected.dim() != 3
        || projected.size(0) != joint.q().size(0)
        || projected.size(2) < 3 * heads * dim) {
      throw new IllegalArgumentException(
          "projected has shape %s; it must have [%d, tokens, %d or more]"
              .formatted(TensorChecks.shape(projected), joint.q().size(0), 3 * heads * dim));
    }
    if (first < 0 || first > tokens - projected.size(1)) {
      throw new IllegalArgumentException(
          "first is %d, where %d tokens do not fit into joint's %d"
              .formatted(first, projected.size(1), tokens));
    }
    weight(dtype, "qWeight", qWeight, dim);
    weight(dtype, "kWeight", kWeight, dim);
    requireEpsilon(epsilon);
    checkRotation(rotation, tokens, dim);
    int outDtype = TensorChecks.dtype("joint.q", joint.q());
    joint(outDtype, "joint.q", joint.q(), joint.q());
    joint(outDtype, "joint.k", joint.k(), joint.q());
    joint(outDtype, "joint.v", joint.v(), joint.q());
  }

  private void joint(int dtype, String argument, Tensor tensor, Tensor q) {
    TensorChecks.operand(backend, dtype, argument, tensor);
    TensorChecks.shape(argument, tensor, q.size(0), q.size(1), q.size(2), q.size(3));
    if (!tensor.is_contiguous()) {
      throw new IllegalArgumentException(argument + " must be contiguous");
    }
  }

  private void checkRotation(Tensor rotation, long tokens, long dim) {
    TensorChecks.type("rotation", rotation, ScalarType.Float);
    TensorChecks.shape("rotation", rotation, tokens, dim / 2, 2);
    if (!rotation.is_contiguous()) {
      throw new IllegalArgumentException("rotation must be contiguous");
    }
    if (backend != Backend.TORCH) {
      TensorChecks.on(backend, "rotation", rotation);
    }
  }

  private static void requireEpsilon(double epsilon) {
    if (!(epsilon >= 0 && epsilon <= Float.MAX_VALUE)) {
      throw new IllegalArgumentException("epsilon must be finite and 0 or more, not " + epsilon);
    }
  }

  /**
   * The queries, keys and values of a whole sequence, of one shape.
   *
   * @param q [batch, heads, all tokens, dim]
   * @param k as q
   * @param v as q
   */
  public record Joint(Tensor q, Tensor k, Tensor v) {}
}
