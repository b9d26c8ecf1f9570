package org.glance4j.model.dit;

import java.util.Objects;
import java.util.function.Consumer;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.AdapterGradients;
import org.glance4j.model.CustomGradient;
import org.glance4j.model.LoraLinears;
import org.jspecify.annotations.Nullable;

/**
 * A forward pass of blocks that compute their gradients by themselves, in place of having LibTorch
 * record every operation: that takes some hundred operations a block, most of them smaller than
 * what it costs to record them.
 *
 * @param pass what the blocks read
 * @param mix the adapters of the pass
 * @param gradients what the backward pass adds the adapters' gradients to
 * @param keeper keeps what the backward pass reads
 */
public record Recording(
    Pass pass, AdapterMix mix, AdapterGradients gradients, Consumer<Tensor> keeper) {
  /** A pass whose backward pass ends before the caller's scope does. */
  Recording(Pass pass, AdapterMix mix, AdapterGradients gradients) {
    this(pass, mix, gradients, CustomGradient.callersScope()::attach);
  }

  /** {@code tensor}, which the backward pass may then read. */
  public Tensor keep(Tensor tensor) {
    keeper.accept(tensor);
    return tensor;
  }

  /** The same pass with another keeper. */
  Recording keptBy(Consumer<Tensor> other) {
    return new Recording(pass, mix, gradients, other);
  }

  /**
   * The backward pass of linears.
   *
   * @param x what they read, kept
   * @param dy the gradient of what they projected
   * @return x's gradient; null if it is not wanted
   */
  public @Nullable Tensor backward(LoraLinears linears, Tensor x, Tensor dy, boolean wantsX) {
    return linears.backward(x, dy, mix, gradients, wantsX);
  }

  /** The same where x's gradient is wanted. */
  public Tensor backward(LoraLinears linears, Tensor x, Tensor dy) {
    return Objects.requireNonNull(backward(linears, x, dy, true));
  }

  /** True if a linear of the block {@code name} is trained, or what makes its vectors. */
  public boolean trains(String name, RecordedVectors vectors) {
    if (vectors.wantsGradients()) {
      return true;
    }
    String prefix = name + ".";
    return mix.parts().stream()
        .flatMap(part -> part.adapter().pairs().entrySet().stream())
        .anyMatch(
            entry -> entry.getKey().startsWith(prefix) && entry.getValue().requiresGradient());
  }
}
