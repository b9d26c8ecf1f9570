package org.glance4j.model.dit;

import java.util.List;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraPair;
import org.glance4j.model.Checkpoint;

/**
 * A block of which only the input is kept for the backward pass, where LibTorch records it (see
 * {@link Checkpoint}): on backend torch. Blocks on the kernels have {@link Recorded#checkpointed}.
 */
public final class BlockCheckpoint {
  /** One block, from the joint state of all tokens to the next. */
  @FunctionalInterface
  public interface Block {
    /** The next state: a new tensor. */
    Tensor forward(Tensor x, Modulation.Reader vectors);
  }

  private BlockCheckpoint() {}

  /** True if there will be a backward pass: gradients are recorded, and {@code choice} has some. */
  public static boolean isWanted(AdapterChoice choice) {
    return GradMode.is_enabled()
        && choice instanceof AdapterMix mix
        && mix.parts().stream()
            .flatMap(part -> part.adapter().pairs().values().stream())
            .anyMatch(LoraPair::requiresGradient);
  }

  /**
   * Runs a block and frees {@code x}.
   *
   * @param count how many vectors the block reads
   */
  public static Tensor run(Tensor x, Modulation.Reader vectors, int count, Block block) {
    Tensor next =
        Checkpoint.run(
            List.of(x, vectors.next(count).values()),
            inputs -> block.forward(inputs.get(0), new Modulation(inputs.get(1)).reader()));
    x.close();
    return next;
  }
}
