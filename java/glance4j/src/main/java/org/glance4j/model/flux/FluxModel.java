package org.glance4j.model.flux;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraFile;
import org.glance4j.model.Conditioning;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.model.PictureLatents;
import org.glance4j.model.vae.AutoencoderKl;
import org.glance4j.model.vae.Pixels;
import org.glance4j.model.vae.VaeConfig;
import org.glance4j.schedule.SigmaShift;
import org.glance4j.weights.ModelIndex;
import org.glance4j.weights.ModelInventory;

/** A FLUX.1 model folder ({@code FluxPipeline}): all its parts, checked to fit each other. */
public final class FluxModel implements ImageModel {
  private static final int RGB_CHANNELS = 3;

  /** Vectors of the model's width that a block keeps of a token for the backward pass. */
  private static final long KEPT_IN_A_BLOCK = 40;

  /** Linears of a block that the published recipe adapts. */
  private static final long ADAPTED_IN_A_BLOCK = 4;

  /** The parameters, their gradients and two means. */
  private static final long COPIES_OF_AN_ADAPTER = 4;

  /** How the names of the linears end that the published recipe adapts. */
  private static final List<String> TARGETS = List.of(".to_q", ".to_k", ".to_v", ".to_out.0");

  private static final List<String> MODULATION =
      List.of(".norm.linear", ".norm1.linear", ".norm1_context.linear", "norm_out.linear");

  private final SigmaShift sigmaShift;
  private final FluxPromptEncoder promptEncoder;
  private final FluxTransformer transformer;
  private final AutoencoderKl vae;

  private FluxModel(
      SigmaShift sigmaShift,
      FluxPromptEncoder promptEncoder,
      FluxTransformer transformer,
      AutoencoderKl vae) {
    this.sigmaShift = sigmaShift;
    this.promptEncoder = promptEncoder;
    this.transformer = transformer;
    this.vae = vae;
  }

  /**
   * Loads a diffusers folder.
   *
   * @param dtype of the text encoders and the transformer; the VAE always runs in f32
   * @param backend what the transformer runs on; the rest is plain LibTorch, on the same device
   * @throws ModelFormatException if a file is missing, damaged or not supported, or two parts do
   *     not fit each other
   */
  public static FluxModel open(Path folder, ScalarType dtype, Backend backend) {
    return open(
        folder, dtype, backend, transformer -> FluxTransformer.open(transformer, dtype, backend));
  }

  /**
   * As {@link #open}, with a transformer that records gradients: see {@link
   * FluxTransformer#openForTraining}.
   */
  public static FluxModel openForTraining(
      Path folder, ScalarType dtype, Backend backend, boolean checkpointing) {
    return open(
        folder,
        dtype,
        backend,
        transformer -> FluxTransformer.openForTraining(transformer, dtype, backend, checkpointing));
  }

  private static FluxModel open(
      Path folder,
      ScalarType dtype,
      Backend backend,
      Function<Path, FluxTransformer> openTransformer) {
    ModelIndex index = ModelIndex.read(folder);
    SigmaShift sigmaShift = SigmaShift.read(index.config("scheduler"));
    UnaryOperator<Tensor> placement = backend.resolve()::place;
    List<AutoCloseable> opened = new ArrayList<>();
    try {
      AutoencoderKl vae = AutoencoderKl.open(index.componentFolder("vae"), backend);
      opened.add(vae);
      FluxPromptEncoder promptEncoder = FluxPromptEncoder.open(folder, dtype, placement);
      opened.add(promptEncoder);
      FluxTransformer transformer = openTransformer.apply(index.componentFolder("transformer"));
      opened.add(transformer);
      requireFitting(folder, transformer.config(), promptEncoder, vae);
      return new FluxModel(sigmaShift, promptEncoder, transformer, vae);
    } catch (RuntimeException e) {
      for (AutoCloseable part : opened) {
        closeAfter(e, part);
      }
      throw e;
    }
  }

  private static void requireFitting(
      Path folder, FluxConfig transformer, FluxPromptEncoder text, AutoencoderKl vae) {
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

  private static void closeAfter(RuntimeException cause, AutoCloseable part) {
    try {
      part.close();
    } catch (Exception e) {
      cause.addSuppressed(e);
    }
  }

  @Override
  public ImageSize defaultSize() {
    return defaultSize(vae.config());
  }

  /** The size of picture that the model in {@code folder} was made for, without loading it. */
  public static ImageSize defaultSize(Path folder) {
    Path vae = ModelIndex.read(folder).componentFolder("vae");
    return defaultSize(VaeConfig.read(vae.resolve("config.json")));
  }

  private static ImageSize defaultSize(VaeConfig config) {
    return new ImageSize(config.sampleSize(), config.sampleSize());
  }

  @Override
  public int sizeMultiple() {
    return 2 * vae.config().scale();
  }

  @Override
  public int defaultTextTokens() {
    return promptEncoder.maxTextTokens();
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
    return transformer.config().inChannels();
  }

  @Override
  public Map<String, LinearShape> linears() {
    return transformer.linears();
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
    return LoraFile.load(file, dtype, transformer.linears());
  }

  @Override
  public void releaseAdapters() {
    transformer.releaseAdapters();
  }

  @Override
  public Conditioning encode(String prompt, int textTokens) {
    try (PointerScope scope = new PointerScope()) {
      return FluxConditioning.retain(promptEncoder.encode(prompt, null, textTokens));
    }
  }

  @Override
  public Tensor noise(long seed, ImageSize size) {
    FluxLatents layout = layout(size);
    // The CPU's generator draws it for every device, so that a seed means one noise.
    return transformer.place(layout.pack(layout.noise(seed, 1)));
  }

  @Override
  public Denoiser denoiser(DenoiseTask task) {
    return new FluxDenoiser(transformer, task, layout(task.size()));
  }

  @Override
  public PictureLatents encode(Tensor picture) {
    return PictureEncoder.encode(vae, transformer.backend(), picture, sizeMultiple());
  }

  @Override
  public Tensor decode(Tensor latents, ImageSize size) {
    Tensor picture = vae.decode(layout(size).unpack(latents));
    return Pixels.toBytes(picture).squeeze(0).cpu();
  }

  @Override
  public long workspaceBytes(ImageSize size, int batch, int steps) {
    FluxConfig config = transformer.config();
    long tokens = imageTokens(size) + (long) defaultTextTokens();
    // A single block's qkv, MLP and their copies, in f32, are the transformer's widest moment.
    long activations = 24L * Float.BYTES * batch * tokens * config.width();
    long modulation = (long) Float.BYTES * batch * steps * config.width() * config.modulations();
    return modulation + Math.max(activations, vae.decodeBytes(size.height(), size.width()));
  }

  /**
   * About how much memory of its own loading a model takes, where {@code backend} computes: on a
   * CUDA device all its weights; on the CPU what is converted to another type, and the transformer,
   * whose weights are packed or stacked, while the rest stays mapped.
   *
   * @throws ModelFormatException if the folder is not a FLUX model
   */
  public static long loadBytes(Path folder, ScalarType dtype, Backend backend) {
    ModelIndex index = ModelIndex.read(folder);
    long bytes =
        ModelInventory.of(index.componentFolder("vae")).bytesAs(ScalarType.Float)
            + ModelInventory.of(index.componentFolder("transformer")).bytesAs(dtype);
    for (String encoder : List.of("text_encoder", "text_encoder_2")) {
      Path component = index.componentFolder(encoder);
      bytes +=
          backend == Backend.CUDA
              ? ModelInventory.of(component).bytesAs(dtype)
              : convertedBytes(component, dtype);
    }
    return bytes;
  }

  /**
   * About how much memory training an adapter takes, beside {@link #loadBytes}: the transformer's
   * weights a second time, packed for the backward pass, the activations kept for it, the adapter
   * with its gradients and means, and the VAE at work.
   *
   * @param batch 2 if the student is trained with CFG, otherwise 1
   * @param checkpointing true if blocks are computed again in the backward pass
   */
  public static long trainingBytes(
      Path folder, ScalarType dtype, ImageSize size, int rank, int batch, boolean checkpointing) {
    ModelIndex index = ModelIndex.read(folder);
    FluxConfig config =
        FluxConfig.read(index.componentFolder("transformer").resolve("config.json"));
    VaeConfig vae = VaeConfig.read(index.componentFolder("vae").resolve("config.json"));
    FluxLatents layout =
        FluxLatents.forImage(vae.latentChannels(), vae.scale(), size.height(), size.width());
    long blocks = config.layers() + (long) config.singleLayers();
    long keptBlocks = checkpointing ? 1 : blocks;
    long tokens = layout.tokens() + (long) FluxPromptEncoder.MAX_TEXT_TOKENS;
    long vectors = batch * tokens * (keptBlocks * KEPT_IN_A_BLOCK + blocks);
    long adapter = blocks * ADAPTED_IN_A_BLOCK * 2 * rank * COPIES_OF_AN_ADAPTER;
    return ModelInventory.of(index.componentFolder("transformer")).bytesAs(dtype)
        + (long) config.width() * Float.BYTES * (vectors + adapter)
        + AutoencoderKl.decodeBytes(vae, size.height(), size.width());
  }

  private static long convertedBytes(Path component, ScalarType dtype) {
    return ModelInventory.of(component).components().stream()
        .flatMap(part -> part.tensors().stream())
        .filter(tensor -> tensor.bytesAs(dtype) != tensor.bytes())
        .mapToLong(tensor -> tensor.bytesAs(dtype))
        .sum();
  }

  @Override
  public void close() {
    promptEncoder.close();
    transformer.close();
    vae.close();
  }

  private FluxLatents layout(ImageSize size) {
    return FluxLatents.forImage(
        vae.config().latentChannels(), vae.config().scale(), size.height(), size.width());
  }
}
