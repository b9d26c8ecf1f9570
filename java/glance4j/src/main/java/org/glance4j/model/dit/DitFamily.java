package org.glance4j.model.dit;

import java.nio.file.Path;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.model.ImageSize;
import org.glance4j.model.ModelFamily;
import org.glance4j.weights.ModelIndex;
import org.glance4j.weights.ModelInventory;

/** A family of models with a {@link DiffusionTransformer}: what their memory comes to. */
public abstract class DitFamily implements ModelFamily {
  /** The parts that take turns. */
  public static final String TEXT = "text";

  /** The other one. */
  public static final String TRANSFORMER = "transformer";

  /** Vectors of the model's width that a block keeps of a token for the backward pass. */
  private static final long KEPT_IN_A_BLOCK = 40;

  /** The parameters, their gradients and two means. */
  private static final long COPIES_OF_AN_ADAPTER = 4;

  /** Vectors of the width that a block holds of a token at its widest: qkv, MLP, their copies. */
  private static final long HELD_IN_A_BLOCK = 24;

  /**
   * What a generation's memory depends on.
   *
   * @param width of the transformer
   * @param blocks how many it has
   * @param modulations vectors of the width that its adaptive layer norms read
   * @param adaptedInABlock rows and columns, in widths, of the linears of a block that the
   *     published recipe adapts
   * @param tokens of image and text
   * @param decodeBytes see {@link org.glance4j.model.vae.Vae#decodeBytes}
   */
  public record Costs(
      int width, int blocks, int modulations, int adaptedInABlock, long tokens, long decodeBytes) {}

  /** The costs of pictures of {@code size}, from the configurations. */
  protected abstract Costs costs(ModelIndex index, ImageSize size);

  @Override
  public final long workspaceBytes(Path folder, ImageSize size, int batch, int steps) {
    return workspaceBytes(costs(ModelIndex.read(folder), size), batch, steps);
  }

  static long workspaceBytes(Costs costs, int batch, int steps) {
    long vector = (long) Float.BYTES * batch * costs.width();
    long activations = HELD_IN_A_BLOCK * vector * costs.tokens();
    long modulation = vector * steps * costs.modulations();
    return modulation + Math.max(activations, costs.decodeBytes());
  }

  /**
   * The transformer's weights a second time, packed for the backward pass, the activations kept for
   * it, the adapter with its gradients and means, and the VAE at work.
   */
  @Override
  public final long trainingBytes(
      Path folder, ScalarType dtype, ImageSize size, int rank, int batch, boolean checkpointing) {
    ModelIndex index = ModelIndex.read(folder);
    Costs costs = costs(index, size);
    long keptBlocks = checkpointing ? 1 : costs.blocks();
    long vectors = batch * costs.tokens() * (keptBlocks * KEPT_IN_A_BLOCK + costs.blocks());
    long adapter = (long) costs.blocks() * costs.adaptedInABlock() * rank * COPIES_OF_AN_ADAPTER;
    return ModelInventory.of(index.componentFolder("transformer")).bytesAs(dtype)
        + (long) costs.width() * Float.BYTES * (vectors + adapter)
        + costs.decodeBytes();
  }
}
