package org.glance4j.model.dit;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.model.Linears;
import org.glance4j.weights.Weights;
import org.jspecify.annotations.Nullable;

/**
 * A transformer that predicts the velocity of noisy latents from a text: its weights, the linears
 * that adapters may change, and what can be said of it whatever its inputs are. What does not
 * depend on the latents, the text in the model's width and the {@link Modulation}, is the concern
 * of its family; the {@link Trunk} does the rest.
 *
 * <p>Results belong to the caller's {@link org.bytedeco.javacpp.PointerScope}. Gradients are
 * recorded on {@link Backend#TORCH}, and by a model opened for training, unless the caller turned
 * them off. Thread-safe, but nothing may run when {@link #close()} is called.
 */
public abstract class DiffusionTransformer implements AutoCloseable {
  /**
   * How a transformer is opened.
   *
   * @param dtype what the model computes in
   * @param backend where it runs; every backend but {@link Backend#TORCH} keeps the weights in a
   *     form of its own and records no gradients, unless opened for training
   * @param merged adapters to merge into the weights
   * @param training true to record gradients on every backend
   * @param checkpointing true to compute each block again in the backward pass, in place of keeping
   *     its activations
   */
  protected record Opening(
      ScalarType dtype,
      Backend backend,
      AdapterMix merged,
      boolean training,
      boolean checkpointing) {
    /** To predict. */
    public static Opening merged(ScalarType dtype, Backend backend, AdapterMix merged) {
      return new Opening(dtype, backend, merged, false, false);
    }

    /** To train adapters. */
    public static Opening training(ScalarType dtype, Backend backend, boolean checkpointing) {
      return new Opening(dtype, backend, AdapterMix.NONE, true, checkpointing);
    }
  }

  /** What a transformer is made of. */
  protected record Source(Weights weights, Linears linears, boolean checkpointing) {}

  private final Weights weights;
  private final Linears linears;
  private final RopeCache ropes;
  private final TimestepEmbedding timesteps;
  private final Trunk trunk;
  private final AtomicBoolean closed = new AtomicBoolean();

  /**
   * @param numbering of the model's tokens
   * @param timesteps taken from {@code source}; closed with this model
   * @param trunk taken from {@code source}
   */
  protected DiffusionTransformer(
      Source source, RopeCache.Numbering numbering, TimestepEmbedding timesteps, Trunk trunk) {
    this.weights = source.weights();
    this.linears = source.linears();
    this.ropes = new RopeCache(numbering, linears.backend());
    this.timesteps = timesteps;
    this.trunk = trunk;
  }

  /**
   * Opens a diffusers {@code transformer} folder, whose configuration has been read.
   *
   * @param build takes all parts of the model
   * @throws ModelFormatException if the weights are not those of the model, or an adapter to merge
   *     does not fit it
   */
  protected static <T extends DiffusionTransformer> T open(
      Path folder, Opening opening, Function<Source, T> build) {
    Backend backend = opening.backend().resolve();
    return build(Weights.open(folder, opening.dtype(), backend::place), opening, build);
  }

  /**
   * Checks a folder in all that {@link #open} does but the weights' values, and reads none: the
   * result tells its linears, takes no memory and cannot run.
   *
   * @throws ModelFormatException as {@link #open}
   */
  protected static <T extends DiffusionTransformer> T describe(
      Path folder, ScalarType dtype, Function<Source, T> build) {
    Opening opening = Opening.merged(dtype, Backend.TORCH, AdapterMix.NONE);
    return build(Weights.describe(folder, dtype), opening, build);
  }

  private static <T extends DiffusionTransformer> T build(
      Weights weights, Opening opening, Function<Source, T> build) {
    Linears linears = new Linears(weights, opening.merged(), opening.backend(), opening.training());
    try {
      T model = build.apply(new Source(weights, linears, opening.checkpointing()));
      weights.requireAllTaken();
      opening.merged().parts().forEach(part -> model.check(part.adapter()));
      return model;
    } catch (RuntimeException | Error e) {
      linears.close();
      weights.close();
      throw e;
    }
  }

  /** What the model computes in, and the type of its results. */
  public final ScalarType dtype() {
    return weights.dtype();
  }

  /** Where this model computes: never {@link Backend#AUTO}. */
  public final Backend backend() {
    return linears.backend();
  }

  /** {@code tensor} where this model computes: see {@link Backend#place}. */
  public final Tensor place(Tensor tensor) {
    return backend().place(tensor);
  }

  /** The linears an adapter may change, by name. */
  public final Map<String, LinearShape> linears() {
    return linears.shapes();
  }

  /**
   * The names of the linears that the published recipe (arXiv 2512.02899) adapts in this family, in
   * the order of {@link #linears()}.
   */
  public abstract List<String> glanceTargets();

  /** The names of the linears that make the adaptive layer norms' shifts, scales and gates. */
  public abstract List<String> modulationTargets();

  /** Those of them whose names end in one of {@code endings}, in the same order. */
  protected final List<String> linearsEndingIn(List<String> endings) {
    return linears().keySet().stream()
        .filter(name -> endings.stream().anyMatch(name::endsWith))
        .toList();
  }

  /**
   * Checks that {@code adapter} fits this model.
   *
   * @throws ModelFormatException naming the linear that is not in this model or has other widths
   * @throws IllegalArgumentException if it was loaded in another type than this model
   */
  public final void check(LoraAdapter adapter) {
    Linears.check(linears.shapes(), dtype(), adapter);
  }

  /** True if {@code mix} trains something that does not depend on the latents. */
  public final boolean trainsConditioning(AdapterMix mix) {
    return trunk.trainsConditioning(mix);
  }

  /** Frees what was made of adapters for the kernels; nothing may be running. */
  public final void releaseAdapters() {
    linears.releaseAdapters();
  }

  /**
   * The rotations for {@code textTokens} text tokens followed by the image tokens of {@code size}.
   * They belong to this model, which keeps those of the last few sizes.
   */
  public final Rope rope(int textTokens, PackedLatents size) {
    requireOpen();
    return ropes.get(textTokens, size);
  }

  /**
   * Predicts the velocity from what can be computed before the first step.
   *
   * @param latents packed latents, shape [batch, imageTokens, inChannels]
   * @param context the text in the model's width, made with the same mix; shape [batch, textTokens,
   *     width]
   * @param modulation made with the same mix; one row for each sample
   * @param rope for textTokens + imageTokens, from {@link #rope}
   * @param padding of the text; null if there is none
   * @param mix the adapters to apply
   * @return shape [batch, imageTokens, inChannels], in the model's type
   */
  public final Tensor forward(
      Tensor latents,
      Tensor context,
      Modulation modulation,
      Rope rope,
      @Nullable TextPadding padding,
      AdapterChoice mix) {
    return forward(latents, context, modulation, new Pass(mix, rope, padding));
  }

  /** The same, watched. */
  protected final Tensor forward(Tensor latents, Tensor context, Modulation modulation, Pass pass) {
    requireOpen();
    return trunk.forward(latents, context, modulation, pass);
  }

  /** Checks an argument's shape, in which -1 stands for any size. */
  protected static void requireShape(String what, Tensor tensor, long... shape) {
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

  /** Checks that the model has not been closed. */
  protected final void requireOpen() {
    if (closed.get()) {
      throw new IllegalStateException("the transformer of " + weights.folder() + " is closed");
    }
  }

  /** Frees the weights. Idempotent; nothing may be running. */
  @Override
  public final void close() {
    if (closed.compareAndSet(false, true)) {
      ropes.close();
      timesteps.close();
      linears.close();
      weights.close();
    }
  }
}
