package org.glance4j.model.flux;

import java.nio.file.Path;
import java.util.function.Function;
import org.bytedeco.javacpp.PointerScope;
import org.glance4j.kernel.Cfg;
import org.glance4j.model.Conditioning;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.ImageSize;
import org.glance4j.model.LoadOptions;
import org.glance4j.model.OpenedParts;
import org.glance4j.model.dit.DitFamily;
import org.glance4j.model.dit.DitModel;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.model.vae.AutoencoderKl;
import org.glance4j.model.vae.VaeConfig;
import org.glance4j.weights.ModelIndex;

/** A FLUX.1 model folder ({@code FluxPipeline}). */
final class FluxModel extends DitModel<FluxTextEncoders, FluxTransformer> {
  private final FluxConfig config;
  private final VaeConfig vae;
  private final FluxTokenizers tokenizers;

  private FluxModel(
      ModelIndex index,
      LoadOptions options,
      AutoencoderKl vae,
      FluxTokenizers tokenizers,
      FluxTransformer described,
      Openers<FluxTextEncoders, FluxTransformer> openers,
      OpenedParts opened) {
    super(index, options, vae, described, openers, new FluxFamily(), opened);
    this.config = described.config();
    this.vae = vae.config();
    this.tokenizers = tokenizers;
  }

  /** See {@link FluxFamily#open}. */
  static FluxModel open(Path folder, LoadOptions options) {
    return open(
        folder,
        options,
        transformer -> FluxTransformer.open(transformer, options.dtype(), options.backend()));
  }

  /** See {@link FluxFamily#openForTraining}. */
  static FluxModel openForTraining(Path folder, LoadOptions options, boolean checkpointing) {
    return open(
        folder,
        options,
        transformer ->
            FluxTransformer.openForTraining(
                transformer, options.dtype(), options.backend(), checkpointing));
  }

  private static FluxModel open(
      Path folder, LoadOptions options, Function<Path, FluxTransformer> openTransformer) {
    ModelIndex index = ModelIndex.read(folder);
    Path transformer = index.componentFolder("transformer");
    Openers<FluxTextEncoders, FluxTransformer> openers =
        new Openers<>(
            () -> FluxTextEncoders.open(folder, options.dtype(), options.backend()),
            () -> openTransformer.apply(transformer));
    return OpenedParts.all(
        opened -> {
          AutoencoderKl vae =
              opened.add(AutoencoderKl.open(index.componentFolder("vae"), options.backend()));
          FluxTokenizers tokenizers = opened.add(FluxTokenizers.open(folder));
          try (FluxTextEncoders text = FluxTextEncoders.describe(folder, options.dtype());
              FluxTransformer described = FluxTransformer.describe(transformer, options.dtype())) {
            requireFitting(folder, described.config(), text, vae);
            return new FluxModel(index, options, vae, tokenizers, described, openers, opened);
          }
        });
  }

  private static void requireFitting(
      Path folder, FluxConfig transformer, FluxTextEncoders text, AutoencoderKl vae) {
    requireEqual(
        folder, "joint_attention_dim", transformer.contextDim(), "T5's width", text.textWidth());
    requireEqual(
        folder,
        "pooled_projection_dim",
        transformer.pooledDim(),
        "CLIP's width",
        text.pooledWidth());
    requireFitting(folder, transformer.latentChannels(), vae);
  }

  @Override
  public ImageSize defaultSize() {
    return FluxFamily.defaultSize(vae);
  }

  @Override
  public int defaultTextTokens() {
    return tokenizers.textTokens();
  }

  @Override
  public int maxTextTokens() {
    return FluxPromptEncoder.MAX_TEXT_TOKENS;
  }

  @Override
  public Cfg cfg(double scale) {
    return scale > 1 ? Cfg.plain((float) scale) : Cfg.NONE;
  }

  @Override
  public String emptyPrompt() {
    return "";
  }

  @Override
  public Conditioning encode(String prompt, int textTokens) {
    return text()
        .with(
            encoders -> {
              try (PointerScope scope = new PointerScope()) {
                return FluxConditioning.retain(
                    new FluxPromptEncoder(tokenizers, encoders).encode(prompt, null, textTokens));
              }
            });
  }

  @Override
  protected Denoiser denoiser(FluxTransformer transformer, DenoiseTask task, PackedLatents layout) {
    return new FluxDenoiser(transformer, task, layout);
  }

  @Override
  protected DitFamily.Costs costs(ImageSize size) {
    return FluxFamily.costs(config, vae, defaultTextTokens(), size);
  }

  @Override
  public void close() {
    super.close();
    tokenizers.close();
  }
}
