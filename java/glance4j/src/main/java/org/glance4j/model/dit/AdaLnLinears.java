package org.glance4j.model.dit;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.model.Linears;
import org.glance4j.model.LoraLinears;

/**
 * The linears of all adaptive layer norms, as one matmul: they read the same vector. The last one
 * is that of the {@link Trunk}'s end, with 2 vectors: scale, shift.
 */
public final class AdaLnLinears {
  private static final String LAST = "norm_out.linear";

  private final LoraLinears linear;
  private final long width;

  private AdaLnLinears(LoraLinears linear, long width) {
    this.linear = linear;
    this.width = width;
  }

  /**
   * Takes them.
   *
   * @param width of a vector, and of what the linears read
   * @param blocks those of the blocks, in the order in which the blocks read their vectors
   */
  public static AdaLnLinears take(Linears linears, long width, List<Linears.Part> blocks) {
    List<Linears.Part> parts = new ArrayList<>(blocks);
    parts.add(new Linears.Part(LAST, 2 * width));
    return new AdaLnLinears(linears.stacked(width, parts), width);
  }

  /**
   * Computes all vectors.
   *
   * @param embedding shape [rows, width]
   */
  public Modulation forward(Tensor embedding, AdapterChoice mix) {
    return new Modulation(linear.forward(torch.silu(embedding), mix).unflatten(-1, -1, width));
  }
}
