package org.glance4j.model.flux;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.model.Linears;
import org.glance4j.model.LoraLinears;

/**
 * The linears of all adaptive layer norms, as one matmul: they read the same vector. A double block
 * has two of 6 vectors (image, then text; shift, scale, gate before the attention, then the same
 * before the MLP), a single block one of 3 (shift, scale, gate), the last norm one of 2 (scale,
 * shift).
 */
final class AdaLnLinears {
  private final LoraLinears linear;
  private final long width;

  private AdaLnLinears(LoraLinears linear, long width) {
    this.linear = linear;
    this.width = width;
  }

  static AdaLnLinears take(FluxConfig config, Linears linears) {
    long width = config.width();
    List<Linears.Part> parts = new ArrayList<>();
    for (int i = 0; i < config.layers(); i++) {
      parts.add(new Linears.Part(DoubleBlock.name(i) + ".norm1.linear", 6 * width));
      parts.add(new Linears.Part(DoubleBlock.name(i) + ".norm1_context.linear", 6 * width));
    }
    for (int i = 0; i < config.singleLayers(); i++) {
      parts.add(new Linears.Part(SingleBlock.name(i) + ".norm.linear", 3 * width));
    }
    parts.add(new Linears.Part("norm_out.linear", 2 * width));
    return new AdaLnLinears(linears.stacked(width, parts), width);
  }

  /**
   * Computes all vectors.
   *
   * @param embedding shape [rows, width]
   */
  Modulation forward(Tensor embedding, AdapterChoice mix) {
    return new Modulation(linear.forward(torch.silu(embedding), mix).unflatten(-1, -1, width));
  }
}
