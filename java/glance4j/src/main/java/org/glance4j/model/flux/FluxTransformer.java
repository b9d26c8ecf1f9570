package org.glance4j.model.flux;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.ModulatedNorm;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.model.Linears;
import org.glance4j.model.LoraLinears;
import org.glance4j.model.Probe;
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
 * computed once for a schedule (once for each mix, if adapters change them), and the shorter {@link
 * #forward(Tensor, Tensor, Modulation, Rope, AdapterChoice)} called for each step.
 *
 * <p>Results belong to the caller's {@link org.bytedeco.javacpp.PointerScope}. Gradients are
 * recorded on {@link Backend#TORCH}, and by a model opened for training, unless the caller turned
 * them off. Stateless and thread-safe, but nothing may run when {@link #close()} is called.
 */
public final class FluxTransformer implements AutoCloseable {
  private final FluxConfig config;
  private final Weights weights;
  private final ScalarType dtype;
  private final Linears linears;
  private final ModulatedNorm norm;
  private final RopeCache ropes;
  private final AtomicBoolean closed = new AtomicBoolean();

  /** The linears that do not depend on the latents, by name. */
  private final List<String> conditioning;

  private final LoraLinears latentEmbedder;
  private final LoraLinears contextEmbedder;
  private final TimeTextEmbedding timeTextEmbedding;
  private final AdaLnLinears adaLnLinears;
  private final FluxBlocks blocks;
  private final LoraLinears out;

  private FluxTransformer(
      FluxConfig config,
      Weights weights,
      Linears linears,
      AdapterMix merged,
      boolean checkpointing) {
    this.config = config;
    this.weights = weights;
    this.dtype = weights.dtype();
    this.linears = linears;
    this.norm = ModulatedNorm.on(linears.operations());
    this.ropes = new RopeCache(config.ropeAxes(), linears.backend());
    int width = config.width();
    contextEmbedder = linears.linear("context_embedder", config.contextDim(), width);
    timeTextEmbedding = TimeTextEmbedding.take(config, linears, weights);
    adaLnLinears = AdaLnLinears.take(config, linears);
    conditioning = List.copyOf(linears.shapes().keySet());
    latentEmbedder = linears.linear("x_embedder", config.inChannels(), width);
    blocks = FluxBlocks.take(config, linears, weights, checkpointing);
    out = linears.linear("proj_out", width, config.inChannels());
    weights.requireAllTaken();
    merged.parts().forEach(part -> check(part.adapter()));
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
    return open(folder, dtype, backend, merged, false, false);
  }

  /**
   * As {@link #open}, to record gradients on every backend: the linears and their gradients come
   * from the kernels, all other operations are plain LibTorch ones. On the CPU a weight whose input
   * has a gradient is packed twice, once transposed.
   *
   * @param checkpointing true to compute each block again in the backward pass, in place of keeping
   *     its activations
   */
  public static FluxTransformer openForTraining(
      Path folder, ScalarType dtype, Backend backend, boolean checkpointing) {
    return open(folder, dtype, backend, AdapterMix.NONE, true, checkpointing);
  }

  /**
   * Checks a folder in all that {@link #open} does but the weights' values, and reads none: the
   * result tells {@link #config()} and {@link #linears()}, takes no memory and cannot run.
   *
   * @throws ModelFormatException as {@link #open}
   */
  public static FluxTransformer describe(Path folder, ScalarType dtype) {
    Supplier<Weights> weights = () -> Weights.describe(folder, dtype);
    return open(folder, weights, Backend.TORCH, AdapterMix.NONE, false, false);
  }

  private static FluxTransformer open(
      Path folder,
      ScalarType dtype,
      Backend backend,
      AdapterMix merged,
      boolean training,
      boolean checkpointing) {
    Supplier<Weights> weights = () -> Weights.open(folder, dtype, backend.resolve()::place);
    return open(folder, weights, backend, merged, training, checkpointing);
  }

  private static FluxTransformer open(
      Path folder,
      Supplier<Weights> openWeights,
      Backend backend,
      AdapterMix merged,
      boolean training,
      boolean checkpointing) {
    FluxConfig config = FluxConfig.read(folder.resolve("config.json"));
    Weights weights = openWeights.get();
    Linears linears = new Linears(weights, merged, backend, training);
    try {
      return new FluxTransformer(config, weights, linears, merged, checkpointing);
    } catch (RuntimeException | Error e) {
      linears.close();
      weights.close();
      throw e;
    }
  }

  /** The architecture. */
  public FluxConfig config() {
    return config;
  }

  /** What the model computes in, and the type of its results. */
  public ScalarType dtype() {
    return dtype;
  }

  /** Where this model computes: never {@link Backend#AUTO}. */
  public Backend backend() {
    return linears.backend();
  }

  /** {@code tensor} where this model computes: see {@link Backend#place}. */
  Tensor place(Tensor tensor) {
    return backend().place(tensor);
  }

  /** The linears an adapter may change, by name. */
  public Map<String, LinearShape> linears() {
    return linears.shapes();
  }

  /**
   * Checks that {@code adapter} fits this model.
   *
   * @throws ModelFormatException naming the linear that is not in this model or has other widths
   * @throws IllegalArgumentException if it was loaded in another type than this model
   */
  public void check(LoraAdapter adapter) {
    Linears.check(linears.shapes(), dtype, adapter);
  }

  /** True if gradients reach what {@link #context} and {@link #modulation} give with this mix. */
  boolean trainsConditioning(AdapterMix mix) {
    return mix.parts().stream()
        .flatMap(part -> conditioning.stream().map(part.adapter()::pair))
        .anyMatch(pair -> pair != null && pair.requiresGradient());
  }

  /** Frees what was made of adapters for the kernels; nothing may be running. */
  public void releaseAdapters() {
    linears.releaseAdapters();
  }

  /**
   * The rotations for {@code textTokens} text tokens followed by the image tokens of {@code size}.
   * They belong to this model, which keeps those of the last few sizes.
   */
  public Rope rope(int textTokens, FluxLatents size) {
    requireOpen();
    return ropes.get(textTokens, size);
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
    Pass pass = new Pass(mix, rope, Probe.NONE);
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
    return contextEmbedder.forward(embeds.to(dtype), mix);
  }

  /**
   * Computes what the adaptive layer norms make of any number of (timestep, guidance, pooled text)
   * rows. {@link Modulation#rows} then takes out those of one step.
   *
   * @param timesteps sigma of each row, shape [rows]
   * @param guidance the distilled guidance of each row, shape [rows]; null exactly if the model has
   *     no such input
   * @param pooled the pooled text vector of each row, shape [rows, pooledDim]
   */
  public Modulation modulation(
      Tensor timesteps, @Nullable Tensor guidance, Tensor pooled, AdapterChoice mix) {
    return modulation(timesteps, guidance, pooled, mix, Probe.NONE);
  }

  private Modulation modulation(
      Tensor timesteps, @Nullable Tensor guidance, Tensor pooled, AdapterChoice mix, Probe probe) {
    requireOpen();
    requireShape("timesteps", timesteps, -1);
    requireShape("pooled", pooled, timesteps.size(0), config.pooledDim());
    if (config.guidanceEmbeds() != (guidance != null)) {
      throw new IllegalArgumentException(
          config.guidanceEmbeds()
              ? "this model has the guidance as an input; give one for each row"
              : "this model has no guidance input; use classifier-free guidance instead");
    }
    if (guidance != null) {
      requireShape("guidance", guidance, timesteps.size(0));
    }
    Tensor embedding = timeTextEmbedding.forward(timesteps, guidance, pooled.to(dtype), mix, probe);
    probe.see("time_text_embed", "", () -> embedding);
    return adaLnLinears.forward(embedding, mix);
  }

  /**
   * As {@link #forward(Tensor, Tensor, Tensor, Tensor, Tensor, Rope, AdapterChoice)}, from what can
   * be computed before the first step.
   *
   * @param latents packed latents, shape [batch, imageTokens, inChannels]
   * @param context from {@link #context} with the same mix, shape [batch, textTokens, width]
   * @param modulation from {@link #modulation} with the same mix; one row for each sample
   * @param rope for textTokens + imageTokens, from {@link #rope}
   * @param mix the adapters to apply
   * @return shape [batch, imageTokens, inChannels], in the model's type
   */
  public Tensor forward(
      Tensor latents, Tensor context, Modulation modulation, Rope rope, AdapterChoice mix) {
    return forward(latents, context, modulation, new Pass(mix, rope, Probe.NONE));
  }

  private Tensor forward(Tensor latents, Tensor context, Modulation modulation, Pass pass) {
    requireOpen();
    requireShape("latents", latents, modulation.rows(), -1, config.inChannels());
    requireShape("context", context, modulation.rows(), -1, config.width());
    long textTokens = context.size(1);
    long imageTokens = latents.size(1);
    if (pass.rope().tokens() != textTokens + imageTokens) {
      throw new IllegalArgumentException(
          "rope is for %d tokens, but there are %d text and %d image tokens"
              .formatted(pass.rope().tokens(), textTokens, imageTokens));
    }
    Probe probe = pass.probe();
    Modulation.Reader vectors = modulation.reader();
    Tensor image = latentEmbedder.forward(latents.to(dtype), pass.mix());
    probe.see("x_embedder", "", () -> image);
    probe.see("context_embedder", "", () -> context);

    Tensor joint = blocks.forward(context, image, vectors, pass);
    Tensor scale = vectors.next();
    Tensor shift = vectors.next();
    Tensor normed = AdaLn.modulate(norm, joint.narrow(1, textTokens, imageTokens), shift, scale);
    probe.see("norm_out", "", () -> normed);
    Tensor velocity = out.forward(normed, pass.mix());
    probe.see("proj_out", "", () -> velocity);
    return velocity;
  }

  private static void requireShape(String what, Tensor tensor, long... shape) {
    boolean fits = tensor.dim() == shape.length;
    for (int i = 0; fits && i < shape.length; i++) {
      fits = shape[i] < 0 || tensor.size(i) == shape[i];
    }
    if (!fits) {
      throw new IllegalArgumentException(
          "%s has shape %s, expected %s (-1: any)"
              .formatted(
                  what, Arrays.toString(tensor.sizes().vec().get()), Arrays.toString(shape)));
    }
  }

  private void requireOpen() {
    if (closed.get()) {
      throw new IllegalStateException("the transformer of " + weights.folder() + " is closed");
    }
  }

  /** Frees the weights. Idempotent; nothing may be running. */
  @Override
  public void close() {
    if (closed.compareAndSet(false, true)) {
      ropes.close();
      linears.close();
      weights.close();
    }
  }
}
