package org.glance4j.model.flux;

import java.nio.file.Path;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.Linears;
import org.glance4j.model.LoraLinears;
import org.glance4j.model.Probe;
import org.glance4j.model.dit.AdaLnLinears;
import org.glance4j.model.dit.DiffusionTransformer;
import org.glance4j.model.dit.Modulation;
import org.glance4j.model.dit.Pass;
import org.glance4j.model.dit.Rope;
import org.glance4j.model.dit.Trunk;
import org.glance4j.weights.Weights;
import org.jspecify.annotations.Nullable;

/**
 * The FLUX transformer ({@code FluxTransformer2DModel}): predicts the velocity of noisy latents
 * from the text. Packed latents and text vectors are projected to one width, go through the double
 * blocks side by side, then through the single blocks as one sequence, text first; the image tokens
 * are projected back.
 *
 * <p>{@link #forward(Tensor, Tensor, Tensor, Tensor, Tensor, Rope, AdapterChoice)} is the whole
 * model. What does not depend on the latents, {@link #context} and {@link #modulation}, can be
 * computed once for a schedule (once for each mix, if adapters change them), and the shorter {@code
 * forward} of {@link DiffusionTransformer} called for each step.
 */
public final class FluxTransformer extends DiffusionTransformer {
  private static final Trunk.Names NAMES = new Trunk.Names("x_embedder", "context_embedder");

  /** How the names of the linears end that the published recipe adapts. */
  private static final List<String> TARGETS = List.of(".to_q", ".to_k", ".to_v", ".to_out.0");

  private static final List<String> MODULATION =
      List.of(".norm.linear", ".norm1.linear", ".norm1_context.linear", "norm_out.linear");

  private final FluxConfig config;
  private final LoraLinears contextEmbedder;
  private final TimeTextEmbedding timeTextEmbedding;
  private final AdaLnLinears adaLnLinears;

  private FluxTransformer(
      FluxConfig config,
      Source source,
      LoraLinears contextEmbedder,
      TimeTextEmbedding timeTextEmbedding,
      AdaLnLinears adaLnLinears,
      Trunk trunk) {
    super(
        source,
        (text, size) -> FluxRope.of(text, size, config.ropeAxes()),
        timeTextEmbedding.timestep(),
        trunk);
    this.config = config;
    this.contextEmbedder = contextEmbedder;
    this.timeTextEmbedding = timeTextEmbedding;
    this.adaLnLinears = adaLnLinears;
  }

  private static FluxTransformer of(FluxConfig config, Source source) {
    Linears linears = source.linears();
    Weights weights = source.weights();
    int width = config.width();
    return new FluxTransformer(
        config,
        source,
        linears.linear(NAMES.text(), config.contextDim(), width),
        new TimeTextEmbedding(config, linears, weights),
        AdaLnLinears.take(linears, width, FluxBlocks.modulation(config)),
        Trunk.take(
            linears,
            NAMES,
            config.inChannels(),
            width,
            () -> FluxBlocks.take(config, linears, weights, source.checkpointing())));
  }

  /**
   * Opens a diffusers {@code transformer} folder.
   *
   * @param dtype what the model computes in
   * @param backend where it runs; every backend but {@link Backend#TORCH} keeps the weights in a
   *     form of its own and records no gradients
   * @throws ModelFormatException if the configuration or the weights are not those of a FLUX
   *     transformer; the message names file, item and reason
   */
  public static FluxTransformer open(Path folder, ScalarType dtype, Backend backend) {
    return openMerged(folder, dtype, backend, AdapterMix.NONE);
  }

  /**
   * As {@link #open}, with adapters merged into the weights: they then cost nothing in a forward
   * pass, and cannot be changed. Other adapters may still be applied on top.
   */
  public static FluxTransformer openMerged(
      Path folder, ScalarType dtype, Backend backend, AdapterMix merged) {
    return open(folder, Opening.merged(dtype, backend, merged));
  }

  /**
   * As {@link #open}, to record gradients on every backend: blocks run on the kernels and compute
   * their gradients by themselves, all other operations are plain LibTorch ones. On the CPU a
   * weight whose input has a gradient is packed twice, once transposed.
   *
   * @param checkpointing true to compute each block again in the backward pass, in place of keeping
   *     its activations
   */
  public static FluxTransformer openForTraining(
      Path folder, ScalarType dtype, Backend backend, boolean checkpointing) {
    return open(folder, Opening.training(dtype, backend, checkpointing));
  }

  /**
   * Checks a folder in all that {@link #open} does but the weights' values, and reads none: the
   * result tells {@link #config()} and {@link #linears()}, takes no memory and cannot run.
   *
   * @throws ModelFormatException as {@link #open}
   */
  public static FluxTransformer describe(Path folder, ScalarType dtype) {
    FluxConfig config = FluxConfig.read(folder.resolve("config.json"));
    return describe(folder, dtype, source -> of(config, source));
  }

  private static FluxTransformer open(Path folder, Opening opening) {
    FluxConfig config = FluxConfig.read(folder.resolve("config.json"));
    return open(folder, opening, source -> of(config, source));
  }

  @Override
  public List<String> glanceTargets() {
    return linearsEndingIn(TARGETS);
  }

  @Override
  public List<String> modulationTargets() {
    return linearsEndingIn(MODULATION);
  }

  /** The architecture. */
  public FluxConfig config() {
    return config;
  }

  /**
   * Predicts the velocity.
   *
   * @param latents packed latents, shape [batch, imageTokens, inChannels]
   * @param embeds the text encoder's token vectors, shape [batch, textTokens, contextDim]
   * @param pooled the pooled text vector, shape [batch, pooledDim]
   * @param timestep sigma of each sample (the published timestep / 1000), shape [batch]
   * @param guidance the distilled guidance of each sample, shape [batch]; null exactly if the model
   *     has no such input
   * @param rope for textTokens + imageTokens, from {@link #rope}
   * @param mix the adapters to apply
   * @return shape [batch, imageTokens, inChannels], in the model's type
   */
  public Tensor forward(
      Tensor latents,
      Tensor embeds,
      Tensor pooled,
      Tensor timestep,
      @Nullable Tensor guidance,
      Rope rope,
      AdapterChoice mix) {
    Pass pass = new Pass(mix, rope, null);
    return forward(latents, embeds, pooled, timestep, guidance, pass);
  }

  Tensor forward(
      Tensor latents,
      Tensor embeds,
      Tensor pooled,
      Tensor timestep,
      @Nullable Tensor guidance,
      Pass pass) {
    Modulation modulation = modulation(timestep, guidance, pooled, pass.mix(), pass.probe());
    return forward(latents, context(embeds, pass.mix()), modulation, pass);
  }

  /**
   * Projects the text vectors to the model's width.
   *
   * @param embeds shape [batch, textTokens, contextDim]
   * @return shape [batch, textTokens, width]
   */
  public Tensor context(Tensor embeds, AdapterChoice mix) {
    requireOpen();
    requireShape("embeds", embeds, -1, -1, config.contextDim());
    return contextEmbedder.forward(embeds.to(dtype()), mix);
  }

  /**
   * Computes what the adaptive layer norms make of some samples at any number of timesteps each.
   * {@link Modulation#rows} then takes out those of one step.
   *
   * @param timesteps sigma of each row, shape [rows]: the first timestep of each sample, then the
   *     second ones, and so on
   * @param guidance the distilled guidance of each sample, shape [samples]; null exactly if the
   *     model has no such input
   * @param pooled the pooled text vector of each sample, shape [samples, pooledDim]
   */
  public Modulation modulation(
      Tensor timesteps, @Nullable Tensor guidance, Tensor pooled, AdapterChoice mix) {
    return modulation(timesteps, guidance, pooled, mix, Probe.NONE);
  }

  private Modulation modulation(
      Tensor timesteps, @Nullable Tensor guidance, Tensor pooled, AdapterChoice mix, Probe probe) {
    requireOpen();
    requireShape("timesteps", timesteps, -1);
    requireShape("pooled", pooled, -1, config.pooledDim());
    if (pooled.size(0) == 0 || timesteps.size(0) % pooled.size(0) != 0) {
      throw new IllegalArgumentException(
          "%d timesteps are not the same number for each of %d samples"
              .formatted(timesteps.size(0), pooled.size(0)));
    }
    if (config.guidanceEmbeds() != (guidance != null)) {
      throw new IllegalArgumentException(
          config.guidanceEmbeds()
              ? "this model has the guidance as an input; give one for each sample"
              : "this model has no guidance input; use classifier-free guidance instead");
    }
    if (guidance != null) {
      requireShape("guidance", guidance, pooled.size(0));
    }
    Tensor embedding =
        timeTextEmbedding.forward(timesteps, guidance, pooled.to(dtype()), mix, probe);
    probe.see("time_text_embed", "", () -> embedding);
    return adaLnLinears.forward(embedding, mix);
  }
}
