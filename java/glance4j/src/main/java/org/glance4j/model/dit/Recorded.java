package org.glance4j.model.dit;

import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.TensorScope;
import org.jspecify.annotations.Nullable;

/**
 * What some blocks gave in a {@link Recording}, and their backward pass.
 *
 * @param <X> what they read: tensors without gradients of LibTorch's
 * @param <Y> what they gave: likewise
 * @param value what they gave
 * @param trains true if adapters in them are trained, or what makes their vectors
 * @param backward runs once, with recording off
 */
public record Recorded<X, Y>(Y value, boolean trains, Backward<X, Y> backward) {
  /** A backward pass. */
  @FunctionalInterface
  public interface Backward<X, Y> {
    /**
     * Adds the adapters' gradients to the recording's.
     *
     * @param gradient of the value
     * @param wantsX false if the gradient of what was read is not wanted
     * @return the gradient of what was read; null if it is not wanted
     */
    @Nullable X input(Y gradient, boolean wantsX);
  }

  /** Nothing yet. */
  static <X> Recorded<X, X> nothing(X x) {
    return new Recorded<>(x, false, (gradient, wantsX) -> gradient);
  }

  /** These, then {@code next}, which read their value. */
  public <Z> Recorded<X, Z> then(Recorded<Y, Z> next) {
    return new Recorded<>(
        next.value,
        trains || next.trains,
        (gradient, wantsX) -> {
          boolean wantsY = wantsX || trains;
          Y own = next.backward.input(gradient, wantsY);
          return own == null ? null : backward.input(own, wantsX);
        });
  }

  /**
   * Runs a block, whose backward pass frees what the block kept and what it computed on its way.
   *
   * @param x kept by the recording
   * @param release takes the result out of a scope
   */
  public static <X> Recorded<X, X> kept(
      X x,
      Recording recording,
      BiFunction<X, Recording, Recorded<X, X>> block,
      BiFunction<TensorScope, X, X> release) {
    List<Tensor> kept = new ArrayList<>();
    Recorded<X, X> run =
        block.apply(x, recording.keptBy(tensor -> kept.add(recording.keep(tensor))));
    return new Recorded<>(
        run.value,
        run.trains,
        (gradient, wantsX) -> {
          try (TensorScope scope = new TensorScope()) {
            X own = run.backward.input(gradient, wantsX);
            return own == null ? null : release.apply(scope, own);
          } finally {
            kept.forEach(Tensor::close);
          }
        });
  }

  /**
   * Runs a block, of which only the input is kept, and which the backward pass runs again.
   *
   * @param x kept by the recording
   * @param block gives the same value whenever it is called
   * @param release takes the results out of a scope
   */
  public static <X> Recorded<X, X> checkpointed(
      X x,
      Recording recording,
      BiFunction<X, Recording, Recorded<X, X>> block,
      BiFunction<TensorScope, X, X> release) {
    Recorded<X, X> first = block.apply(x, recording.keptBy(tensor -> {}));
    return new Recorded<>(
        first.value,
        first.trains,
        (gradient, wantsX) -> {
          try (TensorScope scope = new TensorScope()) {
            Recorded<X, X> again = block.apply(x, recording.keptBy(scope::keep));
            X own = again.backward.input(gradient, wantsX);
            return own == null ? null : release.apply(scope, own);
          }
        });
  }
}
