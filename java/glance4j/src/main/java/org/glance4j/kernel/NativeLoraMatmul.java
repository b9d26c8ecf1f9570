package org.glance4j.kernel;

import java.lang.ref.Reference;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.LoraMatmul.GatedResidual;
import org.glance4j.kernel.jni.Kernels;
import org.glance4j.kernel.jni.Linear;
import org.glance4j.kernel.jni.LoraLinearArgs;
import org.glance4j.kernel.jni.Up;
import org.jspecify.annotations.Nullable;

/** {@link LoraMatmul} through the C ABI. */
final class NativeLoraMatmul {
  private static final ThreadLocal<Block> BLOCKS = NativeCall.perThread(Block::new);

  private NativeLoraMatmul() {}

  /** A thread's argument block and what it points at. */
  private static final class Block {
    final LoraLinearArgs args = NativeCall.keep(new LoraLinearArgs());
    final Linear linears = NativeCall.keep(new Linear(LoraMatmul.MAX_LINEARS));
    final Up ups = NativeCall.keep(new Up(LoraMatmul.MAX_LINEARS * LoraMatmul.MAX_ADAPTERS));
    final AdapterBlock adapters = new AdapterBlock(args.adapters());

    Block() {
      args.struct_size(NativeCall.size(LoraLinearArgs.class));
      args.linears(linears);
      args.ups(ups);
      args.matmul(Kernels.GLANCE_MATMUL_AUTO);
      args.tile_columns(0);
    }
  }

  static void forward(
      Backend backend,
      Tensor x,
      List<LoraMatmul.Linear> linears,
      List<LoraMatmul.Adapter> adapters,
      List<LoraMatmul.Segment> segments,
      @Nullable Tensor h,
      @Nullable Tensor selection) {
    Block block = BLOCKS.get();
    try {
      LoraLinearArgs args = block.args;
      RowLayout layout = RowLayout.of("x", x);
      args.x(x.data_ptr());
      args.rows(layout.rows());
      args.x_stride(layout.stride());
      args.h(NativeCall.data(h));
      args.h_stride(h == null ? 0 : RowLayout.of("h", h).stride());
      args.linear_count(linears.size());
      args.dtype(TensorChecks.dtype("x", x));
      args.device(NativeCall.device(backend));
      args.device_index(NativeCall.deviceIndex(backend, x));
      for (int i = 0; i < linears.size(); i++) {
        block.linears.position(i);
        fill(block.linears, linears.get(i), layout.rows());
      }
      block.adapters.fill(adapters, segments, selection);
      fill(block.ups, adapters);
      run(backend, args, x);
    } finally {
      // Raw pointers keep neither tensors nor matrices. On CUDA the call returns before the work is
      // done, but LibTorch hands freed memory out again only to later work on the same stream.
      Reference.reachabilityFence(x);
      Reference.reachabilityFence(linears);
      Reference.reachabilityFence(adapters);
      Reference.reachabilityFence(h);
      Reference.reachabilityFence(selection);
    }
  }

  private static void run(Backend backend, LoraLinearArgs args, Tensor x) {
    long[] bytes = new long[1];
    if (backend == Backend.CUDA) {
      NativeLibrary.check(Kernels.glance_lora_linear_workspace(args, bytes));
    }
    try (Tensor workspace = NativeCall.workspace(x, bytes[0])) {
      args.workspace(NativeCall.data(workspace));
      args.workspace_bytes(bytes[0]);
      NativeLibrary.check(Kernels.glance_lora_linear(args, NativeCall.stream(backend, x)));
    }
  }

  private static void fill(Linear block, LoraMatmul.Linear linear, long rows) {
    Tensor y = linear.y();
    block.weight(linear.weight().matrix());
    block.bias(linear.bias() == null ? null : row("bias", linear.bias()).data_ptr());
    block.y(NativeCall.data(y, linear.firstColumn()));
    block.y_stride(RowLayout.of("y", y).stride());
    block.reserved(0);
    GatedResidual gated = linear.gated();
    if (gated == null) {
      boolean gelu = linear.activation() == LoraMatmul.Activation.GELU_TANH;
      block.epilogue(gelu ? Kernels.GLANCE_EPILOGUE_GELU_TANH : Kernels.GLANCE_EPILOGUE_NONE);
      block.gate(null);
      block.gate_stride(0);
      block.rows_per_gate(0);
      block.residual(null);
      block.residual_stride(0);
    } else {
      SampleVectors gate =
          SampleVectors.of("gate", gated.gate(), y.size(0), rows, linear.weight().rows());
      block.epilogue(Kernels.GLANCE_EPILOGUE_GATED_RESIDUAL);
      block.gate(gated.gate().data_ptr());
      block.gate_stride(gate.stride());
      block.rows_per_gate(gate.rowsPerVector());
      block.residual(gated.residual().data_ptr());
      block.residual_stride(RowLayout.of("residual", gated.residual()).stride());
    }
  }

  private static void fill(Up block, List<LoraMatmul.Adapter> adapters) {
    int position = 0;
    for (int i = 0; i < adapters.size(); i++) {
      List<LoraMatmul.@Nullable Up> ups = adapters.get(i).ups();
      for (int g = 0; g < ups.size(); g++) {
        LoraMatmul.Up up = ups.get(g);
        block.position(position++);
        block.up(up == null ? null : up.matrix().matrix());
        block.first(up == null ? 0 : up.first());
      }
    }
  }

  /** Checks that a vector's elements lie side by side. */
  static Tensor row(String argument, Tensor vector) {
    RowLayout.of(argument, vector);
    return vector;
  }
}
