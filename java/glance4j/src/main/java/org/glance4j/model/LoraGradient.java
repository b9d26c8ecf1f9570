package org.glance4j.model;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.LoraBackward;
import org.glance4j.kernel.LoraMatmul;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.kernel.LoraMatmul.Linear;
import org.glance4j.model.LoraLinears.Slice;
import org.jspecify.annotations.Nullable;

/** The gradients of one call of {@link TrainingLinears}, from the kernels. */
final class LoraGradient implements CustomGradient.Backward {
  /**
   * Where one linear's A and B lie among all parameters, A first.
   *
   * @param slice its index among the slices
   * @param rank of A and B
   * @param scale of their product
   * @param first parameter of A
   */
  record Place(int slice, long rank, double scale, long first) {}

  /** The index of x among the inputs, and that of the parameters. */
  private static final int X = 0;

  private static final int PARAMETERS = 1;

  private final TransposedWeights transposed;
  private final List<Slice> slices;
  private final List<Place> places;
  private final List<Tensor> constants;
  private final boolean wantsX;
  private final boolean wantsParameters;

  /** x's gradient, computed with the parameters'. */
  private @Nullable Tensor ready;

  /**
   * @param places by slice; empty without adapters
   * @param inputs x and, with adapters, the parameters
   * @param constants the same without their graph
   */
  LoraGradient(
      TransposedWeights transposed,
      List<Slice> slices,
      List<Place> places,
      List<Tensor> inputs,
      List<Tensor> constants) {
    this.transposed = transposed;
    this.slices = slices;
    this.places = places;
    this.constants = constants;
    this.wantsX = inputs.get(X).requires_grad();
    this.wantsParameters = !places.isEmpty() && inputs.get(PARAMETERS).requires_grad();
  }

  /** All is computed in the first call; what it has no place for yet waits for the second. */
  @Override
  public void write(int input, Tensor gradient, Tensor into) {
    Tensor waiting = ready;
    if (waiting != null) {
      into.copy_(waiting);
      waiting.close();
      return;
    }
    Tensor dx = input == X ? into : wantsX ? torch.empty_like(constants.get(X)) : null;
    Tensor floats = wantsParameters ? floats(input == PARAMETERS ? into : null) : null;
    compute(gradient, dx, floats);
    if (input == X) {
      ready = floats == null ? null : floats.retainReference();
    } else {
      ready = dx == null ? null : dx.retainReference();
      if (floats != null && floats.scalar_type().intern() != into.scalar_type().intern()) {
        into.copy_(floats);
      }
    }
  }

  /** The kernel gives the parameters' gradients in f32, whatever type they have. */
  private Tensor floats(@Nullable Tensor into) {
    Tensor like = into == null ? torch.empty_like(constants.get(PARAMETERS)) : into;
    return like.to(ScalarType.Float);
  }

  private void compute(Tensor dy, @Nullable Tensor dx, @Nullable Tensor parameters) {
    int next = 0;
    Tensor sum = null;
    for (int i = 0; i < slices.size(); i++) {
      Place place = next < places.size() && places.get(next).slice() == i ? places.get(next) : null;
      if (place == null && dx == null) {
        continue;
      }
      Tensor part = dx == null || sum == null ? dx : torch.empty_like(dx);
      if (place == null) {
        plain(columns(dy, i), i, part);
      } else {
        next++;
        adapted(columns(dy, i), place, part, parameters);
      }
      sum = sum == null || part == null ? part : sum.add_(part);
    }
  }

  private Tensor columns(Tensor dy, int slice) {
    Slice columns = slices.get(slice);
    return slices.size() == 1 ? dy : dy.narrow(-1, columns.offset(), columns.outFeatures());
  }

  private void plain(Tensor dy, int slice, @Nullable Tensor dx) {
    if (dx != null) {
      LoraMatmul.on(transposed.backend())
          .forward(dy, List.of(new Linear(transposed.get(slice), null, dx, Activation.NONE, null)));
    }
  }

  private void adapted(Tensor dy, Place place, @Nullable Tensor dx, @Nullable Tensor parameters) {
    LoraBackward.on(transposed.backend())
        .backward(
            constants.get(X),
            dy,
            down(constants.get(PARAMETERS), place),
            up(constants.get(PARAMETERS), place),
            (float) place.scale(),
            dx == null ? null : transposed.get(place.slice()),
            dx,
            parameters == null ? null : down(parameters, place),
            parameters == null ? null : up(parameters, place),
            false);
  }

  private Tensor down(Tensor parameters, Place place) {
    return parameters
        .narrow(0, place.first(), place.rank() * inFeatures())
        .view(place.rank(), inFeatures());
  }

  private Tensor up(Tensor parameters, Place place) {
    long outFeatures = slices.get(place.slice()).outFeatures();
    return parameters
        .narrow(0, place.first() + place.rank() * inFeatures(), outFeatures * place.rank())
        .view(outFeatures, place.rank());
  }

  private long inFeatures() {
    return constants.get(X).size(-1);
  }
}
