package org.glance4j.model.flux;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.Cfg;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraFile;
import org.glance4j.model.Conditioning;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.model.LoadOptions;
import org.glance4j.model.MemoryNeeds;
import org.glance4j.model.PictureLatents;
import org.glance4j.model.Turns;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.model.dit.PictureEncoder;
import org.glance4j.model.vae.AutoencoderKl;
import org.glance4j.model.vae.Pixels;
import org.glance4j.schedule.SigmaShift;
import org.glance4j.weights.ModelIndex;

/** A FLUX.1 model folder ({@code FluxPipeline}): all its parts, checked to fit each other. */
final class FluxModel implements ImageModel {
  private static final int RGB_CHANNELS = 3;

  /** How the names of the linears end that the published recipe adapts. */
  private static final List<String> TARGETS = List.of(".to_q", ".to_k", ".to_v", ".to_out.0");

  private static final List<String> MODULATION =
      List.of(".norm.linear", ".norm1.linear", ".norm1_context.linear", "norm_out.linear");

  private final LoadOptions options;
  private final SigmaShift sigmaShift;
  private final AutoencoderKl vae;
  private final FluxTokenizers tokenizers;
  private final FluxConfig config;
  private final Map<String, LinearShape> linears;
  private final Turns turns;
  private final Turns.Part<FluxTextEncoders> text;
  private final Turns.Part<FluxTransformer> transformer;

  private FluxModel(
      ModelIndex index,
      LoadOptions options,
      Function<Path, FluxTransformer> openTransformer,
      List<AutoCloseable> opened) {
    this.options = options;
    this.sigmaShift = SigmaShift.read(index.config("scheduler"));
    Path folder = index.folder();
    Path transformerFolder = index.componentFolder("transformer");
    Backend backend = options.backend();
    vae = AutoencoderKl.open(index.componentFolder("vae"), backend);
    opened.add(vae);
    tokenizers = FluxTokenizers.open(folder);
    opened.add(tokenizers);
    try (FluxTextEncoders encoders = FluxTextEncoders.describe(folder, options.dtype());
        FluxTransformer described = FluxTransformer.describe(transformerFolder, options.dtype())) {
      config = described.config();
      linears = described.linears();
      requireFitting(folder, config, encoders, vae);
    }
    turns = new Turns(options.resident(), backend);
    opened.add(turns);
    MemoryNeeds memory = FluxFamily.memory(index, options.dtype(), backend);
    text =
        turns.part(
            "the text encoders",
            memory.partBytes(FluxFamily.TEXT),
            () -> FluxTextEncoders.open(folder, options.dtype(), backend::place),
            FluxTextEncoders::close);
    transformer =
        turns.part(
            "the transformer",
            memory.partBytes(FluxFamily.TRANSFORMER),
            () -> openTransformer.apply(transformerFolder),
            FluxTransformer::close);
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
    List<AutoCloseable> opened = new ArrayList<>();
    try {
      return new FluxModel(ModelIndex.read(folder), options, openTransformer, opened);
    } catch (RuntimeException | Error e) {
      for (AutoCloseable part : opened) {
        closeAfter(e, part);
      }
      throw e;
    }
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
    requireEqual(
        folder,
        "in_channels / 4",
        transformer.latentChannels(),
        "the VAE's latent_channels",
        vae.config().latentChannels());
    if (vae.config().outChannels() != RGB_CHANNELS) {
      throw ModelFormatException.in(
          folder.resolve("vae"),
          "out_channels",
          vae.config().outChannels() + " is not supported; a picture has 3: red, green, blue");
    }
  }

  private static void requireEqual(
      Path folder, String transformerKey, int transformer, String otherKey, int other) {
    if (transformer != other) {
      throw ModelFormatException.in(
          folder,
          "transformer " + transformerKey,
          transformer
              + " differs from "
              + otherKey
              + " "
              + other
              + "; all parts must come from one model");
    }
  }

  private static void closeAfter(Throwable cause, AutoCloseable part) {
    try {
      part.close();
    } catch (Exception e) {
      cause.addSuppressed(e);
    }
  }

  @Override
  public ImageSize defaultSize() {
    return FluxFamily.defaultSize(vae.config());
  }

  @Override
  public int sizeMultiple() {
    return 2 * vae.config().scale();
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
  public SigmaShift sigmaShift() {
    return sigmaShift;
  }

  @Override
  public int imageTokens(ImageSize size) {
    return layout(size).tokens();
  }

  @Override
  public int latentChannels() {
    return config.inChannels();
  }

  @Override
  public Map<String, LinearShape> linears() {
    return linears;
  }

  @Override
  public List<String> glanceTargets() {
    return linears().keySet().stream()
        .filter(name -> TARGETS.stream().anyMatch(name::endsWith))
        .toList();
  }

  @Override
  public List<String> modulationTargets() {
    return linears().keySet().stream()
        .filter(name -> MODULATION.stream().anyMatch(name::endsWith))
        .toList();
  }

  @Override
  public LoraAdapter loadAdapter(Path file, ScalarType dtype) {
    return LoraFile.load(file, dtype, linears);
  }

  @Override
  public void releaseAdapters() {
    transformer.ifOpen(FluxTransformer::releaseAdapters);
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
    return text.with(
        encoders -> {
          try (PointerScope scope = new PointerScope()) {
            return FluxConditioning.retain(
                new FluxPromptEncoder(tokenizers, encoders).encode(prompt, null, textTokens));
          }
        });
  }

  @Override
  public Tensor noise(long seed, ImageSize size) {
    PackedLatents layout = layout(size);
    // The CPU's generator draws it for every device, so that a seed means one noise.
    return options.backend().place(layout.pack(layout.noise(seed, 1)));
  }

  @Override
  public Denoiser denoiser(DenoiseTask task) {
    PackedLatents layout = layout(task.size());
    return transformer.denoiser(opened -> new FluxDenoiser(opened, task, layout));
  }

  @Override
  public PictureLatents encode(Tensor picture) {
    return PictureEncoder.encode(vae, options.backend(), picture, sizeMultiple());
  }

  @Override
  public Tensor decode(Tensor latents, ImageSize size) {
    Tensor picture = vae.decode(layout(size).unpack(latents));
    return Pixels.toBytes(picture).squeeze(0).cpu();
  }

  @Override
  public long workspaceBytes(ImageSize size, int batch, int steps) {
    return FluxFamily.workspaceBytes(config, vae.config(), defaultTextTokens(), size, batch, steps);
  }

  @Override
  public long pendingBytes() {
    return turns.pendingBytes();
  }

  /** The text encoders, for tests. */
  Turns.Part<FluxTextEncoders> text() {
    return text;
  }

  /** The transformer, for tests. */
  Turns.Part<FluxTransformer> transformer() {
    return transformer;
  }

  @Override
  public void close() {
    turns.close();
    tokenizers.close();
    vae.close();
  }

  private PackedLatents layout(ImageSize size) {
    return FluxFamily.layout(vae.config(), size);
  }
}
