package org.glance4j.model;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorBase;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.VoidTensorHook;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * An operation with a gradient of its own in LibTorch's graph.
 *
 * <p>No class of LibTorch's can be extended from Java, but hooks can be set. The value is computed
 * without recording; then no row at all of each input is added to no row of it, which changes
 * nothing, NaN and infinity included, but links it to its inputs. In the backward pass a hook on
 * the value sees its gradient; the links give zeros for each input's gradient, and a hook fills
 * those in before they go on.
 *
 * <p>Gradients must be taken before the scope is closed that the caller of the model had open,
 * which is what keeps the hooks alive; and once: a graph that is kept for another backward pass is
 * refused. Nothing records gradients of these gradients.
 */
final class CustomGradient {
  /** Computes gradients. Called with recording off, on whichever thread LibTorch chooses. */
  @FunctionalInterface
  interface Backward {
    /**
     * Writes one input's gradient. Called once for each input that requires one.
     *
     * @param input its index
     * @param gradient of the value, contiguous
     * @param into zeros of the input's shape, contiguous
     */
    void write(int input, Tensor gradient, Tensor into);
  }

  /** The indices of no rows. */
  private static final Tensor NO_ROWS =
      torch.empty(new long[] {0}, new TensorOptions(ScalarType.Long), null).retainReference();

  private final Backward backward;
  private final List<Tensor> saved = new ArrayList<>();
  private final PointerScope owner;
  private Tensor gradient = new Tensor();
  private int pending;

  private CustomGradient(Backward backward, PointerScope owner) {
    this.backward = backward;
    this.owner = owner;
  }

  /** True if gradients are recorded and one of {@code inputs} requires one. */
  static boolean isWanted(List<Tensor> inputs) {
    return GradMode.is_enabled() && inputs.stream().anyMatch(Tensor::requires_grad);
  }

  /**
   * Makes {@code value} an operation on {@code inputs}.
   *
   * @param value a new tensor that requires no gradient; the operation takes its memory
   * @param inputs at least one of which requires a gradient
   * @param backward of this operation
   * @param saved what {@code backward} reads; handles that this method may close afterwards
   * @return the value, in the same memory
   */
  static Tensor link(Tensor value, List<Tensor> inputs, Backward backward, List<Tensor> saved) {
    CustomGradient operation = new CustomGradient(backward, callersScope());
    saved.forEach(tensor -> operation.saved.add(operation.keep(tensor)));
    TensorVector rows = new TensorVector();
    for (int i = 0; i < inputs.size(); i++) {
      Tensor input = inputs.get(i);
      if (input.requires_grad()) {
        // A view of its own, whose gradient has no other part.
        Tensor view = input.reshape(-1);
        view.register_hook(operation.new InputHook(i, input.sizes().vec().get()));
        rows.push_back(view.narrow(0, 0, 0));
        operation.pending++;
      }
    }
    long[] none = value.sizes().vec().get();
    none[0] = 0;
    Tensor index = value.is_cpu() ? NO_ROWS : value.new_empty(0).to(ScalarType.Long);
    Tensor source = rows.size() == 1 ? rows.get(0) : torch.cat(rows);
    // Detached from what it may be a view of, which an operation in place would drag along.
    Tensor linked = value.detach().index_add_(0, index, source.view(none));
    linked.register_hook(operation.new ValueHook());
    return linked;
  }

  /** The innermost scope of the thread that no block of the model has opened. */
  private static PointerScope callersScope() {
    Iterator<PointerScope> scopes = PointerScope.getScopeIterator();
    while (scopes != null && scopes.hasNext()) {
      PointerScope scope = scopes.next();
      if (!TensorScope.isBlocks(scope)) {
        return scope;
      }
    }
    throw new IllegalStateException(
        "gradients are recorded outside of any PointerScope; open one around forward and backward");
  }

  private Tensor keep(Tensor tensor) {
    owner.attach(tensor);
    return tensor;
  }

  private void write(int input, long[] shape, TensorBase zeros) {
    if (pending == 0) {
      throw new IllegalStateException(
          "the gradients of this forward pass have been taken; run it again");
    }
    try (PointerScope scope = new PointerScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      backward.write(input, gradient, new Tensor(zeros).view(shape));
    }
    pending--;
    if (pending == 0) {
      gradient.close();
      saved.forEach(Tensor::close);
    }
  }

  /** Sees the value's gradient before any input's is computed. */
  private final class ValueHook extends VoidTensorHook {
    ValueHook() {
      owner.attach(this);
    }

    @Override
    public void call(TensorBase value) {
      try (PointerScope scope = new PointerScope()) {
        gradient = new Tensor(value).contiguous().retainReference();
      }
    }
  }

  private final class InputHook extends VoidTensorHook {
    private final int input;
    private final long[] shape;

    InputHook(int input, long[] shape) {
      this.input = input;
      this.shape = shape;
      owner.attach(this);
    }

    @Override
    public void call(TensorBase zeros) {
      write(input, shape, zeros);
    }
  }
}
