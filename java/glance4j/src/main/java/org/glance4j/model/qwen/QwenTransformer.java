package org.glance4j.model.qwen;

import java.nio.file.Path;
import java.util.List;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
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
import org.glance4j.model.dit.DoubleBlockNames;
import org.glance4j.model.dit.DoubleBlocks;
import org.glance4j.model.dit.Heads;
import org.glance4j.model.dit.Modulation;
import org.glance4j.model.dit.Pass;
import org.glance4j.model.dit.Rope;
import org.glance4j.model.dit.TextPadding;
import org.glance4j.model.dit.TimestepEmbedding;
import org.glance4j.model.dit.Trunk;
import org.glance4j.weights.Weights;
import org.jspecify.annotations.Nullable;

/**
 * The Qwen-Image transformer ({@code QwenImageTransformer2DModel}, arXiv 2508.02324): predicts the
 * velocity of noisy latents from the text. Packed latents and normed text vectors are projected to
 * one width and go through the double blocks side by side; the image tokens are projected back.
 *
 * <p>{@link #forward(Tensor, Tensor, Tensor, Rope, TextPadding, AdapterChoice)} is the whole model.
 * What does not depend on the latents, {@link #context} and {@link #modulation}, can be computed
 * once for a schedule (once for each mix, if adapters change them), and the {@code forward} of
 * {@link DiffusionTransformer} called for each step.
 */
public final class QwenTransformer extends DiffusionTransformer {
  private static final Trunk.Names NAMES = new Trunk.Names("img_in", "txt_in");
  private static final DoubleBlockNames BLOCK_NAMES =
      new DoubleBlockNames("img_mod.1", "txt_mod.1", "img_mlp", "txt_mlp");
  private static final double EPSILON = 1e-6;

  /** How the names of the linears end that the published recipe adapts. */
  private static final List<String> TARGETS =
      List.of(
          ".to_q",
          ".to_k",
          ".to_v",
          ".add_q_proj",
          ".add_k_proj",
          ".add_v_proj",
          ".to_out.0",
          ".to_add_out",
          ".img_mlp.net.2",
          ".txt_mlp.net.2",
          ".img_mod.1",
          ".txt_mod.1");

  private static final List<String> MODULATION =
      List.of(".img_mod.1", ".txt_mod.1", "norm_out.linear");

  private final QwenConfig config;
  private final Tensor textNorm;
  private final LoraLinears textIn;
  private final TimestepEmbedding timestepEmbedding;
  private final AdaLnLinears adaLnLinears;

  private QwenTransformer(
      QwenConfig config,
      Source source,
      Tensor textNorm,
      LoraLinears textIn,
      TimestepEmbedding timestepEmbedding,
      AdaLnLinears adaLnLinears,
      Trunk trunk) {
    super(
        source,
        (text, size) -> QwenRope.of(text, size, config.ropeAxes()),
        timestepEmbedding,
        trunk);
    this.config = config;
    this.textNorm = textNorm;
    this.textIn = textIn;
    this.timestepEmbedding = timestepEmbedding;
    this.adaLnLinears = adaLnLinears;
  }

  private static QwenTransformer of(QwenConfig config, Source source) {
    Linears linears = source.linears();
    Weights weights = source.weights();
    int width = config.width();
    return new QwenTransformer(
        config,
        source,
        weights.take("txt_norm.weight", config.contextDim()),
        linears.linear(NAMES.text(), config.contextDim(), width),
        QwenTimesteps.take(config, linears, weights),
        AdaLnLinears.take(linears, width, BLOCK_NAMES.modulation(config.layers(), width)),
        Trunk.take(linears, NAMES, config.inChannels(), width, () -> blocks(config, source)));
  }

  private static DoubleBlocks blocks(QwenConfig config, Source source) {
    return DoubleBlocks.take(
        BLOCK_NAMES,
        config.layers(),
        new Heads(config.heads(), config.headDim()),
        source.linears(),
        source.weights(),
        source.checkpointing());
  }

  /**
   * Opens a diffusers {@code transformer} folder.
   *
   * @param dtype what the model computes in
   * @param backend where it runs; every backend but {@link Backend#TORCH} keeps the weights in a
   *     form of its own and records no gradients
   * @throws ModelFormatException if the configuration or the weights are not those of a Qwen-Image
   *     transformer; the message names file, item and reason
   */
  public static QwenTransformer open(Path folder, ScalarType dtype, Backend backend) {
    return openMerged(folder, dtype, backend, AdapterMix.NONE);
  }

  /**
   * As {@link #open}, with adapters merged into the weights: they then cost nothing in a forward
   * pass, and cannot be changed. Other adapters may still be applied on top.
   */
  public static QwenTransformer openMerged(
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
  public static QwenTransformer openForTraining(
      Path folder, ScalarType dtype, Backend backend, boolean checkpointing) {
    return open(folder, Opening.training(dtype, backend, checkpointing));
  }

  /**
   * Checks a folder in all that {@link #open} does but the weights' values, and reads none: the
   * result tells {@link #config()} and {@link #linears()}, takes no memory and cannot run.
   *
   * @throws ModelFormatException as {@link #open}
   */
  public static QwenTransformer describe(Path folder, ScalarType dtype) {
    QwenConfig config = QwenConfig.read(folder.resolve("config.json"));
    return describe(folder, dtype, source -> of(config, source));
  }

  private static QwenTransformer open(Path folder, Opening opening) {
    QwenConfig config = QwenConfig.read(folder.resolve("config.json"));
    return open(folder, opening, source -> of(config, source));
  }

  /** The architecture. */
  public QwenConfig config() {
    return config;
  }

  @Override
  public List<String> glanceTargets() {
    return linearsEndingIn(TARGETS);
  }

  @Override
  public List<String> modulationTargets() {
    return linearsEndingIn(MODULATION);
  }

  /**
   * Predicts the velocity.
   *
   * @param latents packed latents, shape [batch, imageTokens, inChannels]
   * @param embeds the text encoder's token vectors, shape [batch, textTokens, contextDim]
   * @param timestep sigma of each sample (the published timestep / 1000), shape [batch]
   * @param rope for textTokens + imageTokens, from {@link #rope}
   * @param padding which text tokens only fill the batch up; null if none do
   * @param mix the adapters to apply
   * @return shape [batch, imageTokens, inChannels], in the model's type
   */
  public Tensor forward(
      Tensor latents,
      Tensor embeds,
      Tensor timestep,
      Rope rope,
      @Nullable TextPadding padding,
      AdapterChoice mix) {
    return forward(latents, embeds, timestep, new Pass(mix, rope, padding));
  }

  Tensor forward(Tensor latents, Tensor embeds, Tensor timestep, Pass pass) {
    Modulation modulation = modulation(timestep, pass.mix(), pass.probe());
    return forward(latents, context(embeds, pass.mix(), pass.probe()), modulation, pass);
  }

  /**
   * Norms the text vectors and projects them to the model's width.
   *
   * @param embeds shape [batch, textTokens, contextDim]
   * @return shape [batch, textTokens, width]
   */
  public Tensor context(Tensor embeds, AdapterChoice mix) {
    return context(embeds, mix, Probe.NONE);
  }

  private Tensor context(Tensor embeds, AdapterChoice mix, Probe probe) {
    requireOpen();
    requireShape("embeds", embeds, -1, -1, config.contextDim());
    Tensor normed = norm(embeds.to(dtype()));
    probe.see("txt_norm", "", () -> normed);
    return textIn.forward(normed, mix);
  }

  /** The RMS norm in f32, rounded before its weight multiplies it, as in the reference. */
  private Tensor norm(Tensor text) {
    return torch
        .rms_norm(
            text.to(ScalarType.Float),
            new long[] {config.contextDim()},
            new TensorOptional(),
            new DoubleOptional(EPSILON))
        .to(dtype())
        .mul(textNorm);
  }

  /**
   * Computes what the adaptive layer norms make of any number of timesteps. {@link Modulation#rows}
   * then takes out those of one step.
   *
   * @param timesteps sigma of each row, shape [rows]
   */
  public Modulation modulation(Tensor timesteps, AdapterChoice mix) {
    return modulation(timesteps, mix, Probe.NONE);
  }

  private Modulation modulation(Tensor timesteps, AdapterChoice mix, Probe probe) {
    requireOpen();
    requireShape("timesteps", timesteps, -1);
    Tensor embedding = timestepEmbedding.forward(timesteps, mix, probe);
    probe.see(QwenTimesteps.NAME, "", () -> embedding);
    return adaLnLinears.forward(embedding, mix);
  }
}
