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
    List<Tensor> linked = new ArrayList<>(kept);
    if (!CustomGradient.isWanted(kept)) {
      // Something in the graph must ask for the value's gradient.
      linked.add(value.new_zeros(1));
      linked.get(inputs.size()).set_requires_grad(true);
    }
    return CustomGradient.link(value, linked, new Recomputation(part, kept), kept);
  }

  private static final class Recomputation implements CustomGradient.Backward {
    private final Part part;
    private final List<Tensor> inputs;

    /** The inputs of the second run, with their gradients; null before it. */
    private @Nullable List<Tensor> leaves;

    Recomputation(Part part, List<Tensor> inputs) {
      this.part = part;
      this.inputs = inputs;
    }

    @Override
    public void write(int input, Tensor gradient, Tensor into) {
      List<Tensor> computed = leaves;
      if (computed == null) {
        computed = run(gradient);
        leaves = computed;
      }
      if (input < computed.size()) {
        Tensor leaf = computed.get(input);
        if (leaf.grad().defined()) {
          into.copy_(leaf.grad());
        }
        leaf.close();
      }
    }

    private List<Tensor> run(Tensor gradient) {
      List<Tensor> again = new ArrayList<>();
      for (Tensor input : inputs) {
        Tensor leaf = input.detach();
        leaf.set_requires_grad(input.requires_grad());
        again.add(leaf.requires_grad() ? leaf.retainReference() : leaf);
      }
      try (AutoGradMode recording = new AutoGradMode(true)) {
        Tensor value = part.forward(again);
        if (value.requires_grad()) {
          value.backward(gradient, new BoolOptional(), false, new TensorArrayRefOptional());
        }
      }
      return again;
    }
  }
}
