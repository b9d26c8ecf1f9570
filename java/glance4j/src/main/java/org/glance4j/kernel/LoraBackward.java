package org.glance4j.kernel;

import java.lang.ref.Reference;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.jni.Kernels;
import org.glance4j.kernel.jni.LoraLinearBackwardArgs;
import org.jspecify.annotations.Nullable;

/**
 * The gradients of one LoRA linear, W frozen:
 *
 * <pre>
 *   g  = scale * (dy B)          rows x rank
 *   dx = dy W + g A              rows x K
 *   dA = g^T x                   rank x K
 *   dB = scale * dy^T (x A^T)    N x rank
 * </pre>
 *
 * <p>x, dy, A, B, W and dx are all f32, all bf16 or (not on the CPU) all f16; dA and dB are f32
 * always. Sums over rows are taken in one fixed order. No backend records gradients of these
 * gradients.
 *
 * <p>Immutable and thread-safe; two calls that write one tensor are the caller's race.
 */
public final class LoraBackward {
  private static final ThreadLocal<LoraLinearBackwardArgs> BLOCKS =
      NativeCall.perThread(LoraBackward::newBlock);

  private final Backend backend;

  private LoraBackward(Backend backend) {
    this.backend = backend;
  }

  private static LoraLinearBackwardArgs newBlock() {
    LoraLinearBackwardArgs args = NativeCall.keep(new LoraLinearBackwardArgs());
    args.struct_size(NativeCall.size(LoraLinearBackwardArgs.class));
    args.reserved(0);
    return args;
  }

  /**
   * The operation on a backend.
   *
   * @throws org.glance4j.NativeLoadException if the backend cannot run on this machine
   */
  public static LoraBackward on(Backend backend) {
    return new LoraBackward(backend.resolve());
  }

  /** Where this runs: never {@link Backend#AUTO}. */
  public Backend backend() {
    return backend;
  }

  /**
   * Computes the gradients whose tensors are given.
   *
   * @param x [..., K], in evenly spaced rows
   * @param dy [..., N], in evenly spaced rows
   * @param down A, [rank, K]
   * @param up B, [N, rank]
   * @param scale alpha / rank times the strength
   * @param weightTransposed W transposed, [K, N]: packed from {@code weight.t()}; null exactly if
   *     dx is
   * @param dx receives x's gradient, x's shape; null if it is not wanted
   * @param dDown receives A's gradient, f32 [rank, K]; null if it is not wanted
   * @param dUp receives B's gradient, f32 [N, rank]; null if it is not wanted
   * @param accumulate true to add to dDown and dUp, false to replace what they hold
   * @throws IllegalArgumentException that names the argument, for shapes, types, devices or layouts
   *     that do not fit
   * @throws IllegalStateException if weightTransposed is closed
   */
  public void backward(
      Tensor x,
      Tensor dy,
      Tensor down,
      Tensor up,
      float scale,
      @Nullable PackedMatrix weightTransposed,
      @Nullable Tensor dx,
      @Nullable Tensor dDown,
      @Nullable Tensor dUp,
      boolean accumulate) {
    int dtype = check(x, dy, down, up, scale);
    check(dtype, x, dy, weightTransposed, dx);
    gradient("dDown", dDown, down);
    gradient("dUp", dUp, up);
    if (backend == Backend.TORCH) {
      TorchLoraBackward.backward(
          x, dy, down, up, scale, weightTransposed, dx, dDown, dUp, accumulate);
    } else {
      call(dtype, x, dy, down, up, scale, weightTransposed, dx, dDown, dUp, accumulate);
    }
  }

  private int check(Tensor x, Tensor dy, Tensor down, Tensor up, float scale) {
    int dtype = TensorChecks.dtype("x", x);
    operand(dtype, "x", x);
    operand(dtype, "dy", dy);
    operand(dtype, "down", down);
    operand(dtype, "up", up);
    TensorChecks.finite("scale", scale);
    TensorChecks.sameRows("dy", dy, "x", x);
    if (down.dim() != 2 || down.size(0) < 1) {
      throw new IllegalArgumentException(
          "down has shape %s; it must have [rank, K]".formatted(TensorChecks.shape(down)));
    }
    TensorChecks.shape("down", down, down.size(0), x.size(x.dim() - 1));
    TensorChecks.shape("up", up, dy.size(dy.dim() - 1), down.size(0));
    return dtype;
  }

  private void check(
      int dtype,
      Tensor x,
      Tensor dy,
      @Nullable PackedMatrix weightTransposed,
      @Nullable Tensor dx) {
    if ((dx == null) != (weightTransposed == null)) {
      throw new IllegalArgumentException("weightTransposed must be given with dx and only then");
    }
    if (dx == null || weightTransposed == null) {
      return;
    }
    operand(dtype, "dx", dx);
    TensorChecks.like("dx", dx, "x", x);
    TensorChecks.packed(backend, dtype, "weightTransposed", weightTransposed);
    long inputs = x.size(x.dim() - 1);
    long outputs = dy.size(dy.dim() - 1);
    if (weightTransposed.rows() != inputs || weightTransposed.columns() != outputs) {
      throw new IllegalArgumentException(
          "weightTransposed is %d x %d, but must be %d x %d; pack weight.t()"
              .formatted(weightTransposed.rows(), weightTransposed.columns(), inputs, outputs));
    }
  }

  private void operand(int dtype, String argument, Tensor tensor) {
    TensorChecks.operand(backend, dtype, argument, tensor);
    TensorChecks.noGradient(argument, tensor);
  }

  private void gradient(String argument, @Nullable Tensor gradient, Tensor of) {
    if (gradient != null) {
      TensorChecks.type(argument, gradient, ScalarType.Float);
      TensorChecks.noGradient(argument, gradient);
      TensorChecks.shape(argument, gradient, of.size(0), of.size(1));
      if (backend != Backend.TORCH) {
        TensorChecks.on(backend, argument, gradient);
      }
    }
  }

  private void call(
      int dtype,
      Tensor x,
      Tensor dy,
      Tensor down,
      Tensor up,
      float scale,
      @Nullable PackedMatrix weightTransposed,
      @Nullable Tensor dx,
      @Nullable Tensor dDown,
      @Nullable Tensor dUp,
      boolean accumulate) {
    LoraLinearBackwardArgs args = BLOCKS.get();
    try {
      RowLayout layout = RowLayout.of("x", x);
      args.x(x.data_ptr());
      args.dy(dy.data_ptr());
      args.down(down.data_ptr());
      args.up(up.data_ptr());
      args.weight_transposed(weightTransposed == null ? null : weightTransposed.matrix());
      args.dx(NativeCall.data(dx));
      args.d_down(floats(dDown));
      args.d_up(floats(dUp));
      args.rows(layout.rows());
      args.in_features(layout.columns());
      args.out_features(dy.size(dy.dim() - 1));
      args.rank(down.size(0));
      args.x_stride(layout.stride());
      args.dy_stride(RowLayout.of("dy", dy).stride());
      args.down_stride(RowLayout.of("down", down).stride());
      args.up_stride(RowLayout.of("up", up).stride());
      args.dx_stride(dx == null ? 0 : RowLayout.of("dx", dx).stride());
      args.d_down_stride(dDown == null ? 0 : RowLayout.of("dDown", dDown).stride());
      args.d_up_stride(dUp == null ? 0 : RowLayout.of("dUp", dUp).stride());
      args.scale(scale);
      args.accumulate(accumulate ? 1 : 0);
      args.dtype(dtype);
      args.device(NativeCall.device(backend));
      args.device_index(NativeCall.deviceIndex(backend, x));
      run(args, x);
    } finally {
      // As in FlowStep.
      Reference.reachabilityFence(x);
      Reference.reachabilityFence(dy);
      Reference.reachabilityFence(down);
      Reference.reachabilityFence(up);
      Reference.reachabilityFence(weightTransposed);
      Reference.reachabilityFence(dx);
      Reference.reachabilityFence(dDown);
      Reference.reachabilityFence(dUp);
    }
  }

  private void run(LoraLinearBackwardArgs args, Tensor x) {
    long[] bytes = new long[1];
    if (backend == Backend.CUDA) {
      NativeLibrary.check(Kernels.glance_lora_linear_backward_workspace(args, bytes));
    }
    try (Tensor workspace = NativeCall.workspace(x, bytes[0])) {
      args.workspace(NativeCall.data(workspace));
      args.workspace_bytes(bytes[0]);
      NativeLibrary.check(Kernels.glance_lora_linear_backward(args, NativeCall.stream(backend, x)));
    }
  }

  private static @Nullable FloatPointer floats(@Nullable Tensor tensor) {
    return tensor == null ? null : new FloatPointer(tensor.data_ptr());
  }
}
