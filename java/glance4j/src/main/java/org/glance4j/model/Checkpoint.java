package org.glance4j.model;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorArrayRefOptional;
import org.jspecify.annotations.Nullable;

/**
 * Gradient checkpointing (arXiv 1604.06174): of a part of a model only the inputs are kept, and the
 * backward pass computes the part again to take its gradients.
 */
public final class Checkpoint {
  /** A part of a model. Gives the same result whenever it is called. */
  @FunctionalInterface
  public interface Part {
    /** The part's value: a new tensor. */
    Tensor forward(List<Tensor> inputs);
  }

  private Checkpoint() {}

  /**
   * Runs {@code part}, for gradients of its inputs and of whatever else it reads that requires one.
   *
   * <p>Gradients must be recorded, and there must be some to take.
   *
   * @param inputs those tensors of the part that come from other parts
   */
  public static Tensor run(List<Tensor> inputs, Part part) {
    Tensor value;
    try (TensorScope scope = new TensorScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      value = scope.release(part.forward(inputs));
    }
    List<Tensor> kept = inputs.stream().map(Tensor::new).toList();
    return CustomGradient.link(value, kept, gradient -> gradients(part, kept, gradient), kept);
  }

  /** Runs the part again, this time with its gradients. */
  private static List<@Nullable Tensor> gradients(
      Part part, List<Tensor> inputs, Tensor valueGradient) {
    List<Tensor> again = new ArrayList<>();
    for (Tensor input : inputs) {
      Tensor leaf = input.detach();
      leaf.set_requires_grad(input.requires_grad());
      again.add(leaf);
    }
    try (AutoGradMode recording = new AutoGradMode(true)) {
      Tensor value = part.forward(again);
      if (value.requires_grad()) {
        value.backward(valueGradient, new BoolOptional(), false, new TensorArrayRefOptional());
      }
    }
    List<@Nullable Tensor> gradients = new ArrayList<>();
    for (Tensor leaf : again) {
      // A handle of its own: the leaf does not outlive this.
      gradients.add(leaf.grad().defined() ? new Tensor(leaf.grad()) : null);
    }
    return gradients;
  }
}
