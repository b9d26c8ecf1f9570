package org.glance4j.model.flux;

import java.nio.file.Path;
import java.util.List;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.model.LoadOptions;
import org.glance4j.model.MemoryNeeds;
import org.glance4j.model.ModelFamily;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.model.vae.AutoencoderKl;
import org.glance4j.model.vae.VaeConfig;
import org.glance4j.weights.ModelIndex;
import org.glance4j.weights.ModelInventory;

/** FLUX.1 ({@code FluxPipeline}). */
public final class FluxFamily implements ModelFamily {
  /** The parts that take turns. */
  static final String TEXT = "text";

  static final String TRANSFORMER = "transformer";

  /** Vectors of the model's width that a block keeps of a token for the backward pass. */
  private static final long KEPT_IN_A_BLOCK = 40;

  /** Linears of a block that the published recipe adapts. */
  private static final long ADAPTED_IN_A_BLOCK = 4;

  /** The parameters, their gradients and two means. */
  private static final long COPIES_OF_AN_ADAPTER = 4;

  @Override
  public ImageModel open(Path folder, LoadOptions options) {
    return FluxModel.open(folder, options);
  }

  @Override
  public ImageModel openForTraining(Path folder, LoadOptions options, boolean checkpointing) {
    return FluxModel.openForTraining(folder, options, checkpointing);
  }

  @Override
  public ImageSize defaultSize(Path folder) {
    return defaultSize(vaeConfig(ModelIndex.read(folder)));
  }

  static ImageSize defaultSize(VaeConfig config) {
    return new ImageSize(config.sampleSize(), config.sampleSize());
  }

  /** The transformer's weights are packed or stacked on every backend. */
  @Override
  public MemoryNeeds memory(Path folder, ScalarType dtype, Backend backend) {
    return memory(ModelIndex.read(folder), dtype, backend);
  }

  static MemoryNeeds memory(ModelIndex index, ScalarType dtype, Backend backend) {
    return new MemoryNeeds(
        List.of(
            MemoryNeeds.mapped(index, "text_encoder", TEXT, dtype, backend, tensor -> true),
            MemoryNeeds.mapped(index, "text_encoder_2", TEXT, dtype, backend, tensor -> true),
            MemoryNeeds.copied(index, "transformer", TRANSFORMER, dtype),
            MemoryNeeds.copied(index, "vae", null, ScalarType.Float)));
  }

  @Override
  public long workspaceBytes(Path folder, ImageSize size, int batch, int steps) {
    ModelIndex index = ModelIndex.read(folder);
    return workspaceBytes(
        config(index), vaeConfig(index), FluxPromptEncoder.MAX_TEXT_TOKENS, size, batch, steps);
  }

  static long workspaceBytes(
      FluxConfig config, VaeConfig vae, int textTokens, ImageSize size, int batch, int steps) {
    long tokens = layout(vae, size).tokens() + (long) textTokens;
    // A single block's qkv, MLP and their copies, in f32, are the transformer's widest moment.
    long activations = 24L * Float.BYTES * batch * tokens * config.width();
    long modulation = (long) Float.BYTES * batch * steps * config.width() * config.modulations();
    return modulation
        + Math.max(activations, AutoencoderKl.decodeBytes(vae, size.height(), size.width()));
  }

  /**
   * The transformer's weights a second time, packed for the backward pass, the activations kept for
   * it, the adapter with its gradients and means, and the VAE at work.
   */
  @Override
  public long trainingBytes(
      Path folder, ScalarType dtype, ImageSize size, int rank, int batch, boolean checkpointing) {
    ModelIndex index = ModelIndex.read(folder);
    FluxConfig config = config(index);
    VaeConfig vae = vaeConfig(index);
    long blocks = config.layers() + (long) config.singleLayers();
    long keptBlocks = checkpointing ? 1 : blocks;
    long tokens = layout(vae, size).tokens() + (long) FluxPromptEncoder.MAX_TEXT_TOKENS;
    long vectors = batch * tokens * (keptBlocks * KEPT_IN_A_BLOCK + blocks);
    long adapter = blocks * ADAPTED_IN_A_BLOCK * 2 * rank * COPIES_OF_AN_ADAPTER;
    return ModelInventory.of(index.componentFolder("transformer")).bytesAs(dtype)
        + (long) config.width() * Float.BYTES * (vectors + adapter)
        + AutoencoderKl.decodeBytes(vae, size.height(), size.width());
  }

  @Override
  public PublishedTraining publishedTraining() {
    return new PublishedTraining(16, 64, 5e-4);
  }

  private static FluxConfig config(ModelIndex index) {
    return FluxConfig.read(index.componentFolder("transformer").resolve("config.json"));
  }

  private static VaeConfig vaeConfig(ModelIndex index) {
    return VaeConfig.read(index.componentFolder("vae").resolve("config.json"));
  }

  static PackedLatents layout(VaeConfig vae, ImageSize size) {
    return PackedLatents.forImage(vae.latentChannels(), vae.scale(), size.height(), size.width());
  }
}
