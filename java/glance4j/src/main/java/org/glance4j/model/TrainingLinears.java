package org.glance4j.model;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraPair;
import org.glance4j.model.LoraGradient.Place;
import org.jspecify.annotations.Nullable;

/**
 * {@link LoraLinears} on the kernels, forward and backward: the weights are frozen, and gradients
 * of x and of the adapters are recorded. Adapters are read anew in each call.
 */
final class TrainingLinears implements LoraLinears {
  private final PackedLinears forward;
  private final TransposedWeights transposed;
  private final List<Slice> slices;

  /**
   * @param forward the linears, which belong to this object from now on
   * @param transposed the same weights
   */
  TrainingLinears(PackedLinears forward, TransposedWeights transposed, List<Slice> slices) {
    this.forward = forward;
    this.transposed = transposed;
    this.slices = List.copyOf(slices);
  }

  /** One linear's adapters, as one: all their A below each other, all their B side by side. */
  private record Adapted(int slice, Tensor down, Tensor up, double scale) {}

  @Override
  public Tensor forward(Tensor x, AdapterChoice mix) {
    return TorchLinears.activated(project(x, mix), slices);
  }

  @Override
  public Tensor forward(Tensor x, AdapterChoice mix, Tensor gate, Tensor residual) {
    return torch.addcmul(residual, gate, forward(x, mix));
  }

  @Override
  public Tensor project(Tensor x, AdapterChoice choice) {
    AdapterMix mix = TorchLinears.mix(choice);
    try (TensorScope scope = new TensorScope()) {
      List<Adapted> adapted = adapted(mix);
      List<Tensor> inputs = new ArrayList<>();
      inputs.add(PackedLinears.evenRows(x));
      if (!adapted.isEmpty()) {
        inputs.add(flat(adapted));
      }
      List<Tensor> constants = inputs.stream().map(Tensor::detach).toList();
      Tensor y;
      try (NoGradGuard noGrad = new NoGradGuard()) {
        y = forward.projectAnew(constants.get(0), mix);
      }
      if (CustomGradient.isWanted(inputs)) {
        LoraGradient gradient =
            new LoraGradient(transposed, slices, places(adapted), inputs, constants);
        y = CustomGradient.link(y, inputs, gradient, constants);
      }
      return scope.release(y);
    }
  }

  /** What the mix does to each linear; those are left out that it leaves alone. */
  private List<Adapted> adapted(AdapterMix mix) {
    List<Adapted> all = new ArrayList<>();
    for (int i = 0; i < slices.size() && !mix.parts().isEmpty(); i++) {
      Adapted one = null;
      for (AdapterMix.Part part : mix.parts()) {
        LoraPair pair = part.adapter().pair(slices.get(i).name());
        if (pair != null && part.strength() * pair.scale() != 0) {
          one = joined(i, one, pair, part.strength() * pair.scale());
        }
      }
      if (one != null) {
        all.add(one);
      }
    }
    return all;
  }

  private static Adapted joined(int slice, @Nullable Adapted first, LoraPair pair, double scale) {
    if (first == null) {
      return new Adapted(slice, pair.down(), pair.up(), scale);
    }
    Tensor up = pair.up().mul(new Scalar(scale / first.scale()));
    return new Adapted(
        slice,
        torch.cat(new TensorVector(first.down(), pair.down()), 0),
        torch.cat(new TensorVector(first.up(), up), 1),
        first.scale());
  }

  /** All matrices in one vector, so that the graph has one input for them: each A, then its B. */
  private static Tensor flat(List<Adapted> adapted) {
    TensorVector all = new TensorVector();
    for (Adapted one : adapted) {
      all.push_back(one.down().reshape(-1));
      all.push_back(one.up().reshape(-1));
    }
    return torch.cat(all);
  }

  private static List<Place> places(List<Adapted> adapted) {
    List<Place> places = new ArrayList<>();
    long first = 0;
    for (Adapted one : adapted) {
      places.add(new Place(one.slice(), one.down().size(0), one.scale(), first));
      first += one.down().numel() + one.up().numel();
    }
    return places;
  }

  @Override
  public void releaseAdapters() {
    // Nothing of them is kept.
  }

  @Override
  public void close() {
    forward.close();
    transposed.close();
  }
}
