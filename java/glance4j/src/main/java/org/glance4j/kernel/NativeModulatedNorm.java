package org.glance4j.kernel;

import java.lang.ref.Reference;
import java.util.List;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.LoraMatmul.Adapter;
import org.glance4j.kernel.LoraMatmul.Segment;
import org.glance4j.kernel.jni.Kernels;
import org.glance4j.kernel.jni.ModulatedNormArgs;
import org.jspecify.annotations.Nullable;

/** {@link ModulatedNorm} through the C ABI. */
final class NativeModulatedNorm {
  private static final ThreadLocal<Block> BLOCKS = NativeCall.perThread(Block::new);

  private NativeModulatedNorm() {}

  /** A thread's argument block and what it points at. */
  private static final class Block {
    final ModulatedNormArgs args = NativeCall.keep(new ModulatedNormArgs());
    final AdapterBlock adapters = new AdapterBlock(args.adapters());

    Block() {
      args.struct_size(NativeCall.size(ModulatedNormArgs.class));
      args.reserved(0);
    }
  }

  static void forward(
      Backend backend,
      Tensor x,
      ModulatedNorm.Norm norm,
      double epsilon,
      @Nullable Tensor scale,
      @Nullable Tensor shift,
      Tensor y,
      @Nullable Tensor h,
      List<Adapter> adapters,
      List<Segment> segments) {
    Block block = BLOCKS.get();
    try {
      ModulatedNormArgs args = block.args;
      args.h(NativeCall.data(h));
      args.h_stride(h == null ? 0 : RowLayout.of("h", h).stride());
      block.adapters.fill(adapters, segments, null);
      args.epsilon((float) epsilon);
      args.norm(
          norm == ModulatedNorm.Norm.LAYER ? Kernels.GLANCE_NORM_LAYER : Kernels.GLANCE_NORM_RMS);
      args.dtype(TensorChecks.dtype("x", x));
      args.device(NativeCall.device(backend));
      args.device_index(NativeCall.deviceIndex(backend, x));
      if (h == null && x.dim() == 3 && x.size(0) > 1 && x.stride(0) != x.size(1) * x.stride(1)) {
        samples(args, backend, x, scale, shift, y);
      } else {
        batch(args, backend, x, scale, shift, y);
      }
    } finally {
      // As in FlowStep.
      Reference.reachabilityFence(x);
      Reference.reachabilityFence(scale);
      Reference.reachabilityFence(shift);
      Reference.reachabilityFence(y);
      Reference.reachabilityFence(h);
      Reference.reachabilityFence(adapters);
    }
  }

  private static void batch(
      ModulatedNormArgs args,
      Backend backend,
      Tensor x,
      @Nullable Tensor scale,
      @Nullable Tensor shift,
      Tensor y) {
    RowLayout layout = RowLayout.of("x", x);
    SampleVectors scales = vectors("scale", scale, x);
    SampleVectors shifts = vectors("shift", shift, x);
    args.rows(layout.rows());
    args.columns(layout.columns());
    args.x_stride(layout.stride());
    args.y_stride(RowLayout.of("y", y).stride());
    args.scale_stride(scales.stride());
    args.shift_stride(shifts.stride());
    args.rows_per_group(Math.max(scales.rowsPerVector(), shifts.rowsPerVector()));
    args.x(x.data_ptr());
    args.y(y.data_ptr());
    args.scale(NativeCall.data(scale));
    args.shift(NativeCall.data(shift));
    run(args, backend, x);
  }

  /** Sample by sample, where x is the same part of each sample of a longer sequence. */
  private static void samples(
      ModulatedNormArgs args,
      Backend backend,
      Tensor x,
      @Nullable Tensor scale,
      @Nullable Tensor shift,
      Tensor y) {
    for (long i = 0; i < x.size(0); i++) {
      try (Tensor sample = x.narrow(0, i, 1);
          Tensor result = y.narrow(0, i, 1);
          Pointer scales = sample(scale, i);
          Pointer shifts = sample(shift, i)) {
        RowLayout layout = RowLayout.of("x", sample);
        args.rows(layout.rows());
        args.columns(layout.columns());
        args.x_stride(layout.stride());
        args.y_stride(RowLayout.of("y", result).stride());
        args.scale_stride(layout.columns());
        args.shift_stride(layout.columns());
        args.rows_per_group(Math.max(1, layout.rows()));
        args.x(sample.data_ptr());
        args.y(result.data_ptr());
        args.scale(scales);
        args.shift(shifts);
        run(args, backend, x);
      }
    }
  }

  private static @Nullable Pointer sample(@Nullable Tensor vectors, long index) {
    return vectors == null ? null : NativeCall.data(vectors, index * vectors.stride(0));
  }

  private static SampleVectors vectors(String argument, @Nullable Tensor vectors, Tensor x) {
    return vectors == null
        ? SampleVectors.NONE
        : SampleVectors.of(
            argument, vectors, x.size(0), LoraMatmulChecks.rows(x), x.size(x.dim() - 1));
  }

  private static void run(ModulatedNormArgs args, Backend backend, Tensor x) {
    NativeLibrary.check(Kernels.glance_modulated_norm(args, NativeCall.stream(backend, x)));
  }
}
