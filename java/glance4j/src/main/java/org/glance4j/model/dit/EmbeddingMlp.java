package org.glance4j.model.dit;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.model.Linears;
import org.glance4j.model.LoraLinears;

/** Two linears with a SiLU between them, which embed one input of the conditioning vector. */
public record EmbeddingMlp(LoraLinears first, LoraLinears second) {
  /** Takes {@code NAME.linear_1} [width, inFeatures] and {@code NAME.linear_2} [width, width]. */
  public static EmbeddingMlp take(Linears linears, String name, long inFeatures, long width) {
    return new EmbeddingMlp(
        linears.linear(name + ".linear_1", inFeatures, width),
        linears.linear(name + ".linear_2", width, width));
  }

  /** Embeds: shape [rows, inFeatures] to [rows, width]. */
  public Tensor forward(Tensor x, AdapterChoice mix) {
    return second.forward(torch.silu(first.forward(x, mix)), mix);
  }
}
