package org.glance4j.kernel;

import java.lang.ref.Reference;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.jni.Kernels;
import org.glance4j.kernel.jni.QkNormRopeArgs;
import org.jspecify.annotations.Nullable;

/** {@link QkNormRope} through the C ABI. */
final class NativeQkNormRope {
  private static final ThreadLocal<QkNormRopeArgs> BLOCKS =
      NativeCall.perThread(NativeQkNormRope::newBlock);

  private NativeQkNormRope() {}

  private static QkNormRopeArgs newBlock() {
    QkNormRopeArgs args = NativeCall.keep(new QkNormRopeArgs());
    args.struct_size(NativeCall.size(QkNormRopeArgs.class));
    args.reserved(0);
    return args;
  }

  static void forward(
      Backend backend,
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
    requireInput("q", q, q);
    requireInput("k", k, q);
    requireOutput("qOut", qOut, qOut);
    requireOutput("kOut", kOut, qOut);
    if (v != null && vOut != null) {
      requireInput("v", v, q);
      requireOutput("vOut", vOut, qOut);
    }
    QkNormRopeArgs args = BLOCKS.get();
    try {
      args.q(q.data_ptr());
      args.k(k.data_ptr());
      args.v(NativeCall.data(v));
      args.q_out(qOut.data_ptr());
      args.k_out(kOut.data_ptr());
      args.v_out(NativeCall.data(vOut));
      args.tokens(q.size(1));
      args.in_batch_stride(q.stride(0));
      args.in_token_stride(q.stride(1));
      run(args, backend, q, qWeight, kWeight, epsilon, rotation, 0, qOut);
    } finally {
      // Raw pointers do not keep their tensors: see FlowStep.
      Reference.reachabilityFence(q);
      Reference.reachabilityFence(k);
      Reference.reachabilityFence(v);
      Reference.reachabilityFence(qOut);
      Reference.reachabilityFence(kOut);
      Reference.reachabilityFence(vOut);
    }
  }

  static void forward(
      Backend backend,
      Tensor projected,
      long heads,
      Tensor qWeight,
      Tensor kWeight,
      double epsilon,
      Tensor rotation,
      long first,
      QkNormRope.Joint joint) {
    if (projected.size(2) > 1 && projected.stride(2) != 1) {
      throw new IllegalArgumentException(
          "projected must have its columns side by side; pass projected.contiguous()");
    }
    QkNormRopeArgs args = BLOCKS.get();
    try {
      long dim = joint.q().size(3);
      args.q(projected.data_ptr());
      args.k(NativeCall.data(projected, heads * dim));
      args.v(NativeCall.data(projected, 2 * heads * dim));
      args.q_out(NativeCall.data(joint.q(), first * dim));
      args.k_out(NativeCall.data(joint.k(), first * dim));
      args.v_out(NativeCall.data(joint.v(), first * dim));
      args.tokens(projected.size(1));
      args.in_batch_stride(projected.stride(0));
      args.in_token_stride(projected.stride(1));
      run(args, backend, projected, qWeight, kWeight, epsilon, rotation, first * dim, joint.q());
    } finally {
      // Raw pointers do not keep their tensors: see FlowStep.
      Reference.reachabilityFence(projected);
      Reference.reachabilityFence(joint);
    }
  }

  private static void run(
      QkNormRopeArgs args,
      Backend backend,
      Tensor input,
      Tensor qWeight,
      Tensor kWeight,
      double epsilon,
      Tensor rotation,
      long firstAngle,
      Tensor output) {
    try {
      args.q_weight(NativeLoraMatmul.row("qWeight", qWeight).data_ptr());
      args.k_weight(NativeLoraMatmul.row("kWeight", kWeight).data_ptr());
      args.rotation(new FloatPointer(NativeCall.data(rotation, firstAngle)));
      args.batch(output.size(0));
      args.heads(output.size(1));
      args.dim(output.size(3));
      args.out_batch_stride(output.stride(0));
      args.out_head_stride(output.stride(1));
      args.out_token_stride(output.stride(2));
      args.epsilon((float) epsilon);
      args.dtype(TensorChecks.dtype("q", input));
      args.out_dtype(TensorChecks.dtype("qOut", output));
      args.device(NativeCall.device(backend));
      args.device_index(NativeCall.deviceIndex(backend, input));
      NativeLibrary.check(Kernels.glance_qk_norm_rope(args, NativeCall.stream(backend, input)));
    } finally {
      // Raw pointers do not keep their tensors: see FlowStep.
      Reference.reachabilityFence(qWeight);
      Reference.reachabilityFence(kWeight);
      Reference.reachabilityFence(rotation);
    }
  }

  private static void requireInput(String argument, Tensor tensor, Tensor q) {
    boolean together =
        tensor.stride(3) == 1 && (tensor.size(2) < 2 || tensor.stride(2) == q.size(3));
    if (!together || tensor.stride(0) != q.stride(0) || tensor.stride(1) != q.stride(1)) {
      throw new IllegalArgumentException(
          argument
              + " has strides "
              + TensorChecks.strides(tensor)
              + "; its channels must be side by side, its heads dim apart, and its samples and"
              + " tokens as far apart as q's");
    }
  }

  private static void requireOutput(String argument, Tensor tensor, Tensor qOut) {
    boolean same = tensor.stride(3) == 1;
    for (int d = 0; same && d < 3; d++) {
      same = tensor.stride(d) == qOut.stride(d);
    }
    if (!same) {
      throw new IllegalArgumentException(
          argument
              + " has strides "
              + TensorChecks.strides(tensor)
              + "; its channels must be side by side, and the rest as far apart as qOut's");
    }
  }
}
