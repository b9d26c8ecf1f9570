package org.glance4j.model;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Frees the intermediate tensors of one block of a model as soon as the block is done, while its
 * result goes on to the scope around it. Without it a forward pass would hold the activations of
 * every layer until its end.
 *
 * <pre>
 * try (TensorScope scope = new TensorScope()) {
 *   return scope.release(...);
 * }</pre>
 *
 * <p>For one thread, as {@link PointerScope} is.
 */
public final class TensorScope implements AutoCloseable {
  private final @Nullable PointerScope outer = PointerScope.getInnerScope();
  private final PointerScope inner = new BlockScope();

  private static final class BlockScope extends PointerScope {}

  /**
   * Lets {@code tensor} outlive this scope. It then belongs to the scope around this one, or to the
   * garbage collector where there is none.
   */
  public Tensor release(Tensor tensor) {
    if (outer == null) {
      return tensor.retainReference();
    }
    outer.attach(tensor);
    return tensor;
  }

  /** Keeps {@code tensor}, which was made in a scope within this one, until this one is closed. */
  public void keep(Tensor tensor) {
    inner.attach(tensor);
  }

  /** True if {@code scope} is one that this class has opened. */
  static boolean isBlocks(PointerScope scope) {
    return scope instanceof BlockScope;
  }

  /** Frees every tensor made in this scope and not released. */
  @Override
  public void close() {
    inner.close();
  }
}
