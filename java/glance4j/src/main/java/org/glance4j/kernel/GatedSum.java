package org.glance4j.kernel;

import java.lang.ref.Reference;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.jni.GatedResidualArgs;
import org.glance4j.kernel.jni.Kernels;

/**
 * What a layer adds to the hidden state:
 *
 * <pre>y = residual + gate * update</pre>
 *
 * <p>The same formula as {@link LoraMatmul.GatedResidual}, for updates that do not come from a
 * linear. All tensors are f32, all bf16 or (not on the CPU) all f16; arithmetic is in f32, rounded
 * once. {@link Backend#TORCH} records gradients; the others refuse tensors that require one.
 *
 * <p>Immutable and thread-safe.
 */
public final class GatedSum {
  private static final ThreadLocal<GatedResidualArgs> BLOCKS =
      NativeCall.perThread(GatedSum::newBlock);

  private final Backend backend;

  private GatedSum(Backend backend) {
    this.backend = backend;
  }

  private static GatedResidualArgs newBlock() {
    GatedResidualArgs args = NativeCall.keep(new GatedResidualArgs());
    args.struct_size(NativeCall.size(GatedResidualArgs.class));
    args.reserved(0);
    return args;
  }

  /**
   * The operation on a backend.
   *
   * @throws org.glance4j.NativeLoadException if the backend cannot run on this machine
   */
  public static GatedSum on(Backend backend) {
    return new GatedSum(backend.resolve());
  }

  /** Where this runs: never {@link Backend#AUTO}. */
  public Backend backend() {
    return backend;
  }

  /**
   * The sum, as a new contiguous tensor.
   *
   * @param residual [batch, ..., columns]
   * @param gate one vector for each sample: [batch, columns] or [batch, 1, columns]
   * @param update residual's shape
   * @throws IllegalArgumentException that names the argument, for shapes, types, devices or layouts
   *     that do not fit
   */
  public Tensor forward(Tensor residual, Tensor gate, Tensor update) {
    int dtype = TensorChecks.dtype("residual", residual);
    TensorChecks.operand(backend, dtype, "residual", residual);
    TensorChecks.operand(backend, dtype, "gate", gate);
    TensorChecks.operand(backend, dtype, "update", update);
    if (residual.dim() < 2) {
      throw new IllegalArgumentException(
          "residual has shape %s; it must have samples: [batch, ..., columns]"
              .formatted(TensorChecks.shape(residual)));
    }
    TensorChecks.like("update", update, "residual", residual);
    long rows = LoraMatmulChecks.rows(residual);
    long columns = residual.size(residual.dim() - 1);
    SampleVectors gates = SampleVectors.of("gate", gate, residual.size(0), rows, columns);
    if (backend == Backend.TORCH) {
      return torch.addcmul(residual, TorchLoraMatmul.gate(gate, residual), update);
    }
    Tensor y = torch.empty(residual.sizes(), residual.options(), null);
    call(dtype, residual, gate, gates, update, y);
    return y;
  }

  private void call(
      int dtype, Tensor residual, Tensor gate, SampleVectors gates, Tensor update, Tensor y) {
    GatedResidualArgs args = BLOCKS.get();
    try {
      RowLayout layout = RowLayout.of("residual", residual);
      args.residual(residual.data_ptr());
      args.update(update.data_ptr());
      args.gate(gate.data_ptr());
      args.y(y.data_ptr());
      args.rows(layout.rows());
      args.columns(layout.columns());
      args.residual_stride(layout.stride());
      args.update_stride(RowLayout.of("update", update).stride());
      args.gate_stride(gates.stride());
      args.rows_per_gate(gates.rowsPerVector());
      args.y_stride(layout.columns());
      args.dtype(dtype);
      args.device(NativeCall.device(backend));
      args.device_index(NativeCall.deviceIndex(backend, residual));
      NativeLibrary.check(
          Kernels.glance_gated_residual(args, NativeCall.stream(backend, residual)));
    } finally {
      // As in FlowStep.
      Reference.reachabilityFence(residual);
      Reference.reachabilityFence(gate);
      Reference.reachabilityFence(update);
      Reference.reachabilityFence(y);
    }
  }
}
