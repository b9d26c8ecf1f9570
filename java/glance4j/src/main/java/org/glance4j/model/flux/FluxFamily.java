package org.glance4j.model.flux;

import java.nio.file.Path;
import java.util.List;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.model.LoadOptions;
import org.glance4j.model.MemoryNeeds;
import org.glance4j.model.dit.DitFamily;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.model.vae.AutoencoderKl;
import org.glance4j.model.vae.VaeConfig;
import org.glance4j.weights.ModelIndex;

/** FLUX.1 ({@code FluxPipeline}). */
public final class FluxFamily extends DitFamily {
  /** Queries, keys, values and the output, each of the width in and out. */
  private static final int ADAPTED_IN_A_BLOCK = 4 * 2;

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
    ModelIndex index = ModelIndex.read(folder);
    return new MemoryNeeds(
        List.of(
            MemoryNeeds.mapped(index, "text_encoder", TEXT, dtype, backend, tensor -> true),
            MemoryNeeds.mapped(index, "text_encoder_2", TEXT, dtype, backend, tensor -> true),
            MemoryNeeds.copied(index, "transformer", TRANSFORMER, dtype),
            MemoryNeeds.copied(index, "vae", null, ScalarType.Float)));
  }

  @Override
  protected Costs costs(ModelIndex index, ImageSize size) {
    FluxConfig config =
        FluxConfig.read(index.componentFolder("transformer").resolve("config.json"));
    return costs(config, vaeConfig(index), FluxPromptEncoder.MAX_TEXT_TOKENS, size);
  }

  static Costs costs(FluxConfig config, VaeConfig vae, int textTokens, ImageSize size) {
    PackedLatents layout =
        PackedLatents.forImage(vae.latentChannels(), vae.scale(), size.height(), size.width());
    return new Costs(
        config.width(),
        config.layers() + config.singleLayers(),
        config.modulations(),
        ADAPTED_IN_A_BLOCK,
        layout.tokens() + (long) textTokens,
        AutoencoderKl.decodeBytes(vae, size.height(), size.width()));
  }

  @Override
  public PublishedTraining publishedTraining() {
    return new PublishedTraining(16, 64, 5e-4);
  }

  private static VaeConfig vaeConfig(ModelIndex index) {
    return VaeConfig.read(index.componentFolder("vae").resolve("config.json"));
  }
}
