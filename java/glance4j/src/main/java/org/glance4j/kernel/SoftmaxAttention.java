package org.glance4j.kernel;

import java.lang.ref.Reference;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.jni.AttentionArgs;
import org.glance4j.kernel.jni.Kernels;

/**
 * Softmax attention without a mask:
 *
 * <pre>out = softmax(scale * q k^T) v          for each sample and head</pre>
 *
 * <p>q, k and v are of one type, f32, bf16 or (not on the CPU) f16, out is of any of them. Sums are
 * in f32; with 16-bit tensors the factors of both products have 16 bits, the softmax's weights
 * among them. Tensors that require a gradient are refused: out is written in place. arXiv
 * 1706.03762.
 *
 * <p>{@link Backend#CPU} has a kernel of its own. {@link Backend#CUDA} runs LibTorch's choice of
 * its fused attentions, or cuDNN's with the system property {@code glance.cuda.attention=cudnn}
 * (bf16 and f16). {@link Backend#TORCH} runs LibTorch's choice, on the CPU in f32, where it is some
 * 20 times slower in bf16.
 *
 * <p>Immutable and thread-safe.
 */
public final class SoftmaxAttention {
  private static final ThreadLocal<AttentionArgs> BLOCKS =
      NativeCall.perThread(SoftmaxAttention::newBlock);

  private final Backend backend;
  private final FusedAttention fused;

  private SoftmaxAttention(Backend backend) {
    this.backend = backend;
    this.fused = backend == Backend.CUDA ? FusedAttention.chosen() : FusedAttention.LIBTORCH;
  }

  private static AttentionArgs newBlock() {
    AttentionArgs args = NativeCall.keep(new AttentionArgs());
    args.struct_size(NativeCall.size(AttentionArgs.class));
    args.reserved(0);
    return args;
  }

  /**
   * The operation on a backend.
   *
   * @throws org.glance4j.NativeLoadException if the backend cannot run on this machine
   */
  public static SoftmaxAttention on(Backend backend) {
    return new SoftmaxAttention(backend.resolve());
  }

  /** Where this runs: never {@link Backend#AUTO}. */
  public Backend backend() {
    return backend;
  }

  /**
   * Attends.
   *
   * @param q [batch, heads, queries, dim], dim side by side
   * @param k [batch, heads, keys, dim], dim side by side
   * @param v as k, with the same strides
   * @param scale usually 1 / sqrt(dim); finite
   * @param out [batch, queries, heads, dim], dim side by side: for example columns of the matrix
   *     that the next linear reads
   * @throws IllegalArgumentException that names the argument, for shapes, types, devices or layouts
   *     that do not fit
   */
  public void forward(Tensor q, Tensor k, Tensor v, double scale, Tensor out) {
    check(q, k, v, scale, out);
    if (backend == Backend.CPU) {
      call(q, k, v, scale, out);
    } else {
      fused(q, k, v, scale, out);
    }
  }

  private void check(Tensor q, Tensor k, Tensor v, double scale, Tensor out) {
    if (q.dim() != 4 || q.numel() == 0) {
      throw new IllegalArgumentException(
          "q has shape %s; it must have [batch, heads, queries, dim], none of them 0"
              .formatted(TensorChecks.shape(q)));
    }
    if (k.dim() != 4 || k.size(2) < 1) {
      throw new IllegalArgumentException(
          "k has shape %s; it must have [batch, heads, keys, dim], none of them 0"
              .formatted(TensorChecks.shape(k)));
    }
    TensorChecks.finite("scale", (float) scale);
    int dtype = TensorChecks.dtype("q", q);
    operand("q", q, dtype, q.size(0), q.size(1), q.size(2), q.size(3));
    operand("k", k, dtype, q.size(0), q.size(1), k.size(2), q.size(3));
    operand("v", v, dtype, q.size(0), q.size(1), k.size(2), q.size(3));
    operand("out", out, TensorChecks.dtype("out", out), q.size(0), q.size(2), q.size(1), q.size(3));
    for (int d = 0; d < 3; d++) {
      if (v.stride(d) != k.stride(d) && v.size(d) > 1) {
        throw new IllegalArgumentException(
            "v has strides %s, but k has %s; they must be the same"
                .formatted(TensorChecks.strides(v), TensorChecks.strides(k)));
      }
    }
  }

  private void operand(String argument, Tensor tensor, int dtype, long... shape) {
    TensorChecks.operand(backend, dtype, argument, tensor);
    TensorChecks.noGradient(argument, tensor);
    TensorChecks.shape(argument, tensor, shape);
    if (tensor.size(3) > 1 && tensor.stride(3) != 1) {
      throw new IllegalArgumentException(
          argument
              + " has strides "
              + TensorChecks.strides(tensor)
              + "; the channels of a head must be side by side");
    }
  }

  private void fused(Tensor q, Tensor k, Tensor v, double scale, Tensor out) {
    try (PointerScope scope = new PointerScope()) {
      ScalarType compute = q.is_cpu() ? ScalarType.Float : TensorChecks.type(q);
      Tensor attended = fused.attend(q.to(compute), k.to(compute), v.to(compute), scale);
      out.copy_(attended.transpose(1, 2));
    }
  }

  private void call(Tensor q, Tensor k, Tensor v, double scale, Tensor out) {
    AttentionArgs args = BLOCKS.get();
    try {
      args.q(q.data_ptr());
      args.k(k.data_ptr());
      args.v(v.data_ptr());
      args.out(out.data_ptr());
      args.batch(q.size(0));
      args.heads(q.size(1));
      args.queries(q.size(2));
      args.keys(k.size(2));
      args.dim(q.size(3));
      args.q_batch_stride(q.stride(0));
      args.q_head_stride(q.stride(1));
      args.q_token_stride(q.stride(2));
      args.kv_batch_stride(k.stride(0));
      args.kv_head_stride(k.stride(1));
      args.kv_token_stride(k.stride(2));
      args.out_batch_stride(out.stride(0));
      args.out_token_stride(out.stride(1));
      args.out_head_stride(out.stride(2));
      args.scale((float) scale);
      args.dtype(TensorChecks.dtype("q", q));
      args.out_dtype(TensorChecks.dtype("out", out));
      args.device(NativeCall.device(backend));
      args.device_index(NativeCall.deviceIndex(backend, q));
      NativeLibrary.check(Kernels.glance_attention(args, NativeCall.stream(backend, q)));
    } finally {
      // Raw pointers do not keep their tensors: see FlowStep.
      Reference.reachabilityFence(q);
      Reference.reachabilityFence(k);
      Reference.reachabilityFence(v);
      Reference.reachabilityFence(out);
    }
  }
}
