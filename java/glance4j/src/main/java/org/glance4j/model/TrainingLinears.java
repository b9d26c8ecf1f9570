package org.glance4j.model;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.LoraBackward;
import org.glance4j.kernel.LoraMatmul;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.kernel.LoraMatmul.Linear;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraPair;
import org.glance4j.model.AdapterPacks.Term;
import org.jspecify.annotations.Nullable;

/**
 * {@link LoraLinears} on the kernels, forward and backward: the weights are frozen, and gradients
 * of x and of the adapters are recorded. Adapters are read anew in each call.
 */
final class TrainingLinears implements LoraLinears {
  private final PackedLinears forward;
  private final TransposedWeights transposed;
  private final List<Slice> slices;
  private final List<String> names;

  /**
   * @param forward the linears, which belong to this object from now on
   * @param transposed the same weights
   */
  TrainingLinears(PackedLinears forward, TransposedWeights transposed, List<Slice> slices) {
    this.forward = forward;
    this.transposed = transposed;
    this.slices = List.copyOf(slices);
    this.names = slices.stream().map(Slice::name).toList();
  }

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
    return GradMode.is_enabled() ? recorded(x, mix) : forward.projectAnew(x.detach(), mix);
  }

  private Tensor recorded(Tensor x, AdapterMix mix) {
    try (TensorScope scope = new TensorScope()) {
      Tensor rows = PackedLinears.evenRows(x);
      Tensor constant = rows.detach();
      boolean wantsX = rows.requires_grad();
      Tensor y;
      try (NoGradGuard noGrad = new NoGradGuard()) {
        y = forward.projectAnew(constant, mix);
      }
      AdapterGradients gradients = AdapterGradients.of(mix, names);
      if (wantsX || gradients.isTrained()) {
        List<Tensor> inputs = new ArrayList<>();
        inputs.add(rows);
        inputs.addAll(gradients.linked());
        y =
            CustomGradient.link(
                y,
                inputs,
                dy -> {
                  List<@Nullable Tensor> all = new ArrayList<>();
                  all.add(backward(constant, dy, mix, gradients, wantsX));
                  all.addAll(gradients.linkedGradients());
                  return all;
                },
                List.of(constant));
      }
      return scope.release(y);
    }
  }

  @Override
  public @Nullable Tensor backward(
      Tensor x, Tensor dy, AdapterMix mix, AdapterGradients gradients, boolean wantsX) {
    Tensor rows = PackedLinears.evenRows(x);
    Tensor dx = null;
    for (int i = 0; i < slices.size(); i++) {
      List<Term> terms = AdapterPacks.terms(mix, names.get(i));
      if (wantsX || terms.stream().anyMatch(term -> term.pair().requiresGradient())) {
        Tensor part = wantsX ? torch.empty_like(rows) : null;
        backward(rows, columns(dy, i), i, terms, gradients, part);
        if (dx == null) {
          dx = part;
        } else if (part != null) {
          dx.add_(part);
        }
      }
    }
    return dx;
  }

  private Tensor columns(Tensor dy, int slice) {
    Slice columns = slices.get(slice);
    return slices.size() == 1 ? dy : dy.narrow(-1, columns.offset(), columns.outFeatures());
  }

  private void backward(
      Tensor x,
      Tensor dy,
      int slice,
      List<Term> terms,
      AdapterGradients gradients,
      @Nullable Tensor dx) {
    if (terms.isEmpty()) {
      if (dx != null) {
        Linear plain = new Linear(transposed.get(slice), null, dx, Activation.NONE, null);
        LoraMatmul.on(transposed.backend()).forward(dy, List.of(plain));
      }
    } else if (terms.size() == 1) {
      Term term = terms.get(0);
      LoraPair pair = term.pair();
      Tensor dDown = gradients.sum(pair.down());
      Tensor dUp = gradients.sum(pair.up());
      backward(x, dy, slice, pair.down(), pair.up(), term.scale(), dx, dDown, dUp);
    } else {
      joined(x, dy, slice, terms, gradients, dx);
    }
  }

  /** Several adapters of one linear as one: their A below each other, their B side by side. */
  private void joined(
      Tensor x,
      Tensor dy,
      int slice,
      List<Term> terms,
      AdapterGradients gradients,
      @Nullable Tensor dx) {
    double scale = terms.get(0).scale();
    TensorVector downs = new TensorVector();
    TensorVector ups = new TensorVector();
    for (Term term : terms) {
      downs.push_back(term.pair().down());
      ups.push_back(term.pair().up().mul(new Scalar(term.scale() / scale)));
    }
    Tensor down = torch.cat(downs, 0);
    Tensor up = torch.cat(ups, 1);
    Tensor dDown = down.new_zeros(down.sizes()).to(ScalarType.Float);
    Tensor dUp = up.new_zeros(up.sizes()).to(ScalarType.Float);
    backward(x, dy, slice, down, up, scale, dx, dDown, dUp);
    long first = 0;
    for (Term term : terms) {
      long rank = term.pair().rank();
      Tensor downSum = gradients.sum(term.pair().down());
      if (downSum != null) {
        downSum.add_(dDown.narrow(0, first, rank));
      }
      Tensor upSum = gradients.sum(term.pair().up());
      if (upSum != null) {
        upSum.add_(dUp.narrow(1, first, rank), new Scalar(term.scale() / scale));
      }
      first += rank;
    }
  }

  /** Adds to {@code dDown} and {@code dUp}, writes {@code dx}: what is null is not wanted. */
  private void backward(
      Tensor x,
      Tensor dy,
      int slice,
      Tensor down,
      Tensor up,
      double scale,
      @Nullable Tensor dx,
      @Nullable Tensor dDown,
      @Nullable Tensor dUp) {
    LoraBackward.on(transposed.backend())
        .backward(
            x,
            dy,
            down.detach(),
            up.detach(),
            (float) scale,
            dx == null ? null : transposed.get(slice),
            dx,
            dDown,
            dUp,
            true);
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
