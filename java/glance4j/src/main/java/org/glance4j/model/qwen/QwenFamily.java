package org.glance4j.model.qwen;

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
import org.glance4j.model.text.Qwen25VlTextEncoder;
import org.glance4j.model.vae.AutoencoderKlQwenImage;
import org.glance4j.model.vae.QwenVaeConfig;
import org.glance4j.weights.ModelIndex;

/** Qwen-Image ({@code QwenImagePipeline}, arXiv 2508.02324). */
public final class QwenFamily extends DitFamily {
  /** Latent pixels in each direction of the pictures it was made for; no configuration says it. */
  private static final int LATENT_SIDE = 128;

  /**
   * Both streams' four linears of the attention, of the width in and out, the second of the MLP, of
   * four widths in, and the modulation's, of six widths out.
   */
  private static final int ADAPTED_IN_A_BLOCK = 2 * (4 * 2 + 5 + 7);

  @Override
  public ImageModel open(Path folder, LoadOptions options) {
    return QwenModel.open(folder, options);
  }

  @Override
  public ImageModel openForTraining(Path folder, LoadOptions options, boolean checkpointing) {
    return QwenModel.openForTraining(folder, options, checkpointing);
  }

  @Override
  public ImageSize defaultSize(Path folder) {
    return defaultSize(vaeConfig(ModelIndex.read(folder)));
  }

  static ImageSize defaultSize(QwenVaeConfig config) {
    int side = LATENT_SIDE * config.scale();
    return new ImageSize(side, side);
  }

  /** The transformer's weights are packed or stacked on every backend. */
  @Override
  public MemoryNeeds memory(Path folder, ScalarType dtype, Backend backend) {
    ModelIndex index = ModelIndex.read(folder);
    return new MemoryNeeds(
        List.of(
            MemoryNeeds.mapped(
                index,
                "text_encoder",
                TEXT,
                dtype,
                backend,
                tensor -> Qwen25VlTextEncoder.reads(tensor.name())),
            MemoryNeeds.copied(index, "transformer", TRANSFORMER, dtype),
            MemoryNeeds.copied(index, "vae", null, ScalarType.Float)));
  }

  @Override
  protected Costs costs(ModelIndex index, ImageSize size) {
    QwenConfig config =
        QwenConfig.read(index.componentFolder("transformer").resolve("config.json"));
    return costs(config, vaeConfig(index), size);
  }

  static Costs costs(QwenConfig config, QwenVaeConfig vae, ImageSize size) {
    PackedLatents layout =
        PackedLatents.forImage(vae.latentChannels(), vae.scale(), size.height(), size.width());
    return new Costs(
        config.width(),
        config.layers(),
        config.modulations(),
        ADAPTED_IN_A_BLOCK,
        layout.tokens() + (long) QwenPromptEncoder.DEFAULT_TEXT_TOKENS,
        AutoencoderKlQwenImage.decodeBytes(vae, size.height(), size.width()));
  }

  @Override
  public PublishedTraining publishedTraining() {
    return new PublishedTraining(32, 128, 3e-4);
  }

  private static QwenVaeConfig vaeConfig(ModelIndex index) {
    return QwenVaeConfig.read(index.componentFolder("vae").resolve("config.json"));
  }
}
