package org.glance4j.model.qwen;

import java.nio.file.Path;
import java.util.List;
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
import org.glance4j.model.text.Qwen25VlTextEncoder;
import org.glance4j.model.text.Tokenizer;
import org.glance4j.model.vae.AutoencoderKlQwenImage;
import org.glance4j.model.vae.QwenVaeConfig;
import org.glance4j.weights.ModelIndex;

/** A Qwen-Image model folder ({@code QwenImagePipeline}). */
final class QwenModel extends DitModel<Qwen25VlTextEncoder, QwenTransformer> {
  private final QwenConfig config;
  private final QwenVaeConfig vae;
  private final Tokenizer tokenizer;

  private QwenModel(
      ModelIndex index,
      LoadOptions options,
      AutoencoderKlQwenImage vae,
      Tokenizer tokenizer,
      QwenTransformer described,
      Openers<Qwen25VlTextEncoder, QwenTransformer> openers,
      OpenedParts opened) {
    super(index, options, vae, described, openers, new QwenFamily(), opened);
    this.config = described.config();
    this.vae = vae.config();
    this.tokenizer = tokenizer;
  }

  /** See {@link QwenFamily#open}. */
  static QwenModel open(Path folder, LoadOptions options) {
    return open(
        folder,
        options,
        transformer -> QwenTransformer.open(transformer, options.dtype(), options.backend()));
  }

  /** See {@link QwenFamily#openForTraining}. */
  static QwenModel openForTraining(Path folder, LoadOptions options, boolean checkpointing) {
    return open(
        folder,
        options,
        transformer ->
            QwenTransformer.openForTraining(
                transformer, options.dtype(), options.backend(), checkpointing));
  }

  private static QwenModel open(
      Path folder, LoadOptions options, Function<Path, QwenTransformer> openTransformer) {
    ModelIndex index = ModelIndex.read(folder);
    Path transformer = index.componentFolder("transformer");
    Path text = index.componentFolder("text_encoder");
    Openers<Qwen25VlTextEncoder, QwenTransformer> openers =
        new Openers<>(
            () -> Qwen25VlTextEncoder.open(text, options.dtype(), options.backend()),
            () -> openTransformer.apply(transformer));
    return OpenedParts.all(
        opened -> {
          AutoencoderKlQwenImage vae =
              opened.add(
                  AutoencoderKlQwenImage.open(index.componentFolder("vae"), options.backend()));
          Tokenizer tokenizer = opened.add(QwenPromptEncoder.openTokenizer(folder));
          try (Qwen25VlTextEncoder encoder = Qwen25VlTextEncoder.describe(text, options.dtype());
              QwenTransformer described = QwenTransformer.describe(transformer, options.dtype())) {
            requireEqual(
                folder,
                "joint_attention_dim",
                described.config().contextDim(),
                "the text encoder's width",
                encoder.width());
            requireFitting(folder, described.config().latentChannels(), vae);
            return new QwenModel(index, options, vae, tokenizer, described, openers, opened);
          }
        });
  }

  @Override
  public ImageSize defaultSize() {
    return QwenFamily.defaultSize(vae);
  }

  @Override
  public int defaultTextTokens() {
    return QwenPromptEncoder.DEFAULT_TEXT_TOKENS;
  }

  @Override
  public int maxTextTokens() {
    return QwenPromptEncoder.MAX_TEXT_TOKENS;
  }

  /** The combined velocity of each token has the length of the positive one. */
  @Override
  public Cfg cfg(double scale) {
    return scale > 1 ? Cfg.rescaled((float) scale) : Cfg.NONE;
  }

  /** A blank: with nothing at all the template would say something else. */
  @Override
  public String emptyPrompt() {
    return " ";
  }

  @Override
  public Conditioning encode(String prompt, int textTokens) {
    return text()
        .with(
            encoder -> {
              try (PointerScope scope = new PointerScope()) {
                PromptEmbedding embedding =
                    new QwenPromptEncoder(tokenizer, encoder).encode(List.of(prompt), textTokens);
                return new QwenConditioning(
                    embedding.embeds().retainReference(), embedding.tokens().get(0).truncation());
              }
            });
  }

  @Override
  protected Denoiser denoiser(QwenTransformer transformer, DenoiseTask task, PackedLatents layout) {
    return new QwenDenoiser(transformer, task, layout);
  }

  @Override
  protected DitFamily.Costs costs(ImageSize size) {
    return QwenFamily.costs(config, vae, size);
  }

  @Override
  public void close() {
    super.close();
    tokenizer.close();
  }
}
