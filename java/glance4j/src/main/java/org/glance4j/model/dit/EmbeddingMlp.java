package org.glance4j.model.dit;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.Linears;
import org.glance4j.model.LoraLinears;

/**
 * Two linears with a SiLU between them, which embed one input of the conditioning vector.
 *
 * @param name what adapters call both, less {@code .linear_1} and {@code .linear_2}
 */
public record EmbeddingMlp(String name, LoraLinears first, LoraLinears second) {
  private static final String FIRST = ".linear_1";
  private static final String SECOND = ".linear_2";

  /** Takes {@code NAME.linear_1} [width, inFeatures] and {@code NAME.linear_2} [width, width]. */
  public static EmbeddingMlp take(Linears linears, String name, long inFeatures, long width) {
    return new EmbeddingMlp(
        name,
        linears.linear(name + FIRST, inFeatures, width),
        linears.linear(name + SECOND, width, width));
  }

  /** Embeds: shape [rows, inFeatures] to [rows, width]. */
  public Tensor forward(Tensor x, AdapterChoice mix) {
    return second.forward(torch.silu(first.forward(x, mix)), mix);
  }

  /** True if {@code mix} changes neither of the linears. */
  boolean isLeftAloneBy(AdapterMix mix) {
    return !mix.changes(name + FIRST) && !mix.changes(name + SECOND);
  }
}
