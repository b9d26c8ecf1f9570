package org.glance4j.model;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorBase;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.VoidTensorHook;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * An operation with a gradient of its own in LibTorch's graph.
 *
 * <p>No class of LibTorch's can be extended from Java, but hooks can be set. The value is computed
 * without recording; then no row at all of each input is added to no row of it, which changes
 * nothing, NaN and infinity included, but links it to its inputs. In the backward pass a hook on
 * the value sees its gradient; the links give zeros for each input's gradient, and a hook fills
 * those in before they go on.
 *
 * <p>Leaves whose gradients the operation adds up by itself, as LibTorch would, need no link: see
 * {@link AdapterGradients}.
 *
 * <p>Gradients must be taken before the scope is closed that the caller of the model had open,
 * which is what keeps the hooks alive; and once: a graph that is kept for another backward pass is
 * refused. Nothing records gradients of these gradients.
 */
public final class CustomGradient {
  /** Computes gradients. Called once, with recording off, on whichever thread LibTorch chooses. */
  @FunctionalInterface
  public interface Backward {
    /**
     * The gradients of all inputs, in order.
     *
     * @param gradient of the value, contiguous
     * @return for each input a tensor of its shape, or null for zeros; not asked for where the
     *     input requires no gradient
     */
    List<@Nullable Tensor> inputs(Tensor gradient);
  }

  /** The index of the input that stands for none. */
  private static final int NOBODYS = -1;

  /** The indices of no rows. */
  private static final Tensor NO_ROWS =
      torch.empty(new long[] {0}, new TensorOptions(ScalarType.Long), null).retainReference();

  private final Backward backward;
  private final List<Tensor> saved = new ArrayList<>();
  private final PointerScope owner;
  private Tensor gradient = new Tensor();

  /** Those of the inputs, once they are computed. */
  private @Nullable List<@Nullable Tensor> computed;

  private final Set<Integer> hooked = new HashSet<>();
  private int pending;

  private CustomGradient(Backward backward, PointerScope owner) {
    this.backward = backward;
    this.owner = owner;
  }

  /**
   * Makes {@code value} an operation on {@code inputs}. Gradients must be recorded.
   *
   * @param value a new tensor that requires no gradient; the operation takes its memory
   * @param inputs those of its inputs that LibTorch is to be told the gradients of; may be none
   * @param backward of this operation
   * @param saved what {@code backward} reads; handles that this method may close afterwards
   * @return the value, in the same memory
   */
  public static Tensor link(
      Tensor value, List<Tensor> inputs, Backward backward, List<Tensor> saved) {
    CustomGradient operation = new CustomGradient(backward, callersScope());
    saved.forEach(tensor -> operation.saved.add(operation.keep(tensor)));
    TensorVector rows = new TensorVector();
    for (int i = 0; i < inputs.size(); i++) {
      if (inputs.get(i).requires_grad()) {
        rows.push_back(operation.noRows(inputs.get(i), i));
      }
    }
    if (rows.size() == 0) {
      // Something in the graph must ask for the value's gradient.
      Tensor asking = value.new_zeros(1);
      asking.set_requires_grad(true);
      rows.push_back(operation.noRows(asking, NOBODYS));
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

  /** Nothing of an input, with a hook on what comes back to it. */
  private Tensor noRows(Tensor input, int index) {
    // A view of its own, whose gradient has no other part.
    Tensor view = input.reshape(-1);
    view.register_hook(new InputHook(index, input.sizes().vec().get()));
    hooked.add(index);
    pending++;
    return view.narrow(0, 0, 0);
  }

  /** The innermost scope of the thread that no block of the model has opened. */
  public static PointerScope callersScope() {
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
      List<@Nullable Tensor> gradients = computed();
      Tensor own = input == NOBODYS ? null : gradients.get(input);
      if (own != null) {
        new Tensor(zeros).view(shape).copy_(own);
        own.close();
      }
    }
    pending--;
  }

  private List<@Nullable Tensor> computed() {
    List<@Nullable Tensor> known = computed;
    if (known == null) {
      known = backward.inputs(gradient);
      // Each waits for its own turn, which comes in another scope.
      for (int i = 0; i < known.size(); i++) {
        Tensor one = known.get(i);
        if (one != null && hooked.contains(i)) {
          one.retainReference();
        }
      }
      computed = known;
      gradient.close();
      saved.forEach(Tensor::close);
    }
    return known;
  }

  /** Sees the value's gradient before any input's is computed. */
  private final class ValueHook extends VoidTensorHook {
    ValueHook() {
      owner.attach(this);
    }

    @Override
    public void call(TensorBase value) {
      if (computed != null) {
        return; // A second backward pass, which the first input refuses.
      }
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
