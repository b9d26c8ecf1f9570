package org.glance4j.model;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.LoraMatmul;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.kernel.LoraMatmul.Adapter;
import org.glance4j.kernel.LoraMatmul.GatedResidual;
import org.glance4j.kernel.LoraMatmul.Linear;
import org.glance4j.kernel.PackedMatrix;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.SelectedMix;
import org.jspecify.annotations.Nullable;

/**
 * {@link LoraLinears} on the kernels: weights packed once, one call for all linears and adapters.
 * Records no gradients.
 */
final class PackedLinears implements LoraLinears {
  /** One linear with its weight and bias. */
  record Packed(Slice slice, PackedMatrix weight, Tensor bias) {}

  /** The linears of one call, of which there are several if a call cannot take them all. */
  private record Call(List<Packed> linears, AdapterPacks adapters) {}

  private final LoraMatmul matmul;
  private final TensorOptions options;
  private final long outFeatures;
  private final List<Packed> linears;
  private final List<Call> calls = new ArrayList<>();

  /**
   * @param linears in the order of their columns; their weights belong to this object from now on
   */
  PackedLinears(LoraMatmul matmul, List<Packed> linears) {
    this.matmul = matmul;
    this.linears = List.copyOf(linears);
    this.options = linears.get(0).bias().options().retainReference();
    this.outFeatures = linears.stream().mapToLong(linear -> linear.slice().outFeatures()).sum();
    for (int i = 0; i < linears.size(); i += LoraMatmul.MAX_LINEARS) {
      int end = Math.min(linears.size(), i + LoraMatmul.MAX_LINEARS);
      List<Packed> part = this.linears.subList(i, end);
      List<String> names = part.stream().map(linear -> linear.slice().name()).toList();
      calls.add(new Call(part, new AdapterPacks(matmul.backend(), names)));
    }
  }

  @Override
  public Tensor forward(Tensor x, AdapterChoice mix) {
    return run(x, mix, null, true);
  }

  @Override
  public Tensor project(Tensor x, AdapterChoice mix) {
    return run(x, mix, null, false);
  }

  @Override
  public Tensor forward(Tensor x, AdapterChoice mix, Tensor gate, Tensor residual) {
    if (linears.size() != 1) {
      throw new IllegalStateException("a gated residual is for one linear, not " + linears.size());
    }
    return run(x, mix, new GatedResidual(gate, residual), true);
  }

  /** As {@link #project}, from the values that the adapters have now. */
  Tensor projectAnew(Tensor x, AdapterMix mix) {
    Tensor rows = evenRows(x);
    Tensor y = torch.empty(shape(x), options, null);
    for (Call call : calls) {
      Adapter adapter = mix.parts().isEmpty() ? null : call.adapters().packAnew(mix);
      matmul.forward(rows, arguments(call, y, null, false), adapter);
      if (adapter != null) {
        // On CUDA what is queued still reads it, before whatever takes its memory on that stream.
        AdapterPacks.free(adapter);
      }
    }
    return y;
  }

  private Tensor run(
      Tensor x, AdapterChoice mix, @Nullable GatedResidual gated, boolean activations) {
    Tensor rows = evenRows(x);
    Tensor y = torch.empty(shape(x), options, null);
    for (Call call : calls) {
      run(call.adapters(), rows, arguments(call, y, gated, activations), mix);
    }
    return y;
  }

  private static List<Linear> arguments(
      Call call, Tensor y, @Nullable GatedResidual gated, boolean activations) {
    List<Linear> arguments = new ArrayList<>(call.linears().size());
    for (Packed linear : call.linears()) {
      Slice slice = linear.slice();
      arguments.add(
          new Linear(
              linear.weight(),
              linear.bias(),
              y,
              slice.offset(),
              activations ? slice.activation() : Activation.NONE,
              gated));
    }
    return arguments;
  }

  private void run(AdapterPacks packs, Tensor x, List<Linear> arguments, AdapterChoice choice) {
    if (choice instanceof AdapterMix mix) {
      matmul.forward(x, arguments, packs.get(mix));
    } else if (choice instanceof SelectedMix selected) {
      List<Adapter> adapters = packs.get(selected);
      if (adapters.isEmpty()) {
        matmul.forward(x, arguments);
      } else {
        matmul.forwardSelected(x, arguments, adapters, selected.selection());
      }
    }
  }

  private long[] shape(Tensor x) {
    long[] shape = new long[Math.toIntExact(x.dim())];
    for (int d = 0; d < shape.length - 1; d++) {
      shape[d] = x.size(d);
    }
    shape[shape.length - 1] = outFeatures;
    return shape;
  }

  /** The kernels read evenly spaced rows; a batch of one sample repeated has others. */
  static Tensor evenRows(Tensor x) {
    boolean even =
        x.dim() < 3
            || (x.stride(2) == 1 && (x.size(0) == 1 || x.stride(0) == x.size(1) * x.stride(1)));
    return even ? x : x.contiguous();
  }

  @Override
  public void releaseAdapters() {
    calls.forEach(call -> call.adapters().close());
  }

  @Override
  public void close() {
    linears.forEach(linear -> linear.weight().close());
    releaseAdapters();
  }
}
