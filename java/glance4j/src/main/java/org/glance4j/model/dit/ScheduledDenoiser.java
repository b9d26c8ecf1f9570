package org.glance4j.model.dit;

import java.util.IdentityHashMap;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.StepTable;
import org.glance4j.model.Velocity;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Step;
import org.jspecify.annotations.Nullable;

/**
 * A transformer with everything computed that does not depend on the latents: for each phase, since
 * adapters may change it, the projected text and the modulation of every step.
 *
 * <p>Positive and negative prompt run as one batch: row 0 and row 1.
 */
public abstract class ScheduledDenoiser implements Denoiser {
  /** The models' own unit for noise levels is sigma, not the timestep of 0 to 1000. */
  private static final float TIMESTEPS = 1000;

  /** A transformer with the prompts and the size of one generation. */
  protected interface Prompted {
    /** See {@link DiffusionTransformer#trainsConditioning}. */
    boolean trainsConditioning(AdapterMix mix);

    /** The prompts in the model's width, shape [batch, textTokens, width]. */
    Tensor context(AdapterMix mix);

    /**
     * The modulation of some steps.
     *
     * @param timesteps sigma of each sample of each step, f32 on the CPU, shape [steps * batch]
     */
    Modulation modulation(Tensor timesteps, AdapterMix mix);

    /**
     * Predicts the velocity.
     *
     * @param latents shape [samples, imageTokens, inChannels]: of the whole batch, or only of the
     *     positive prompt
     * @param context from {@link #context}, of as many samples
     * @param modulation of one step, of as many samples
     */
    Tensor forward(Tensor latents, Tensor context, Modulation modulation, AdapterChoice mix);
  }

  /**
   * What one step needs beside the latents.
   *
   * @param context [batch, text tokens, width]
   * @param modulation of its batch
   */
  private record StepState(AdapterMix mix, Tensor context, Modulation modulation) {}

  private final Prompted transformer;
  private final DenoiseTask task;
  private final List<Step> steps;
  private final int batch;

  /** By step; null for those that are computed in each evaluation, to record gradients. */
  private final @Nullable StepState[] states;

  /**
   * @param transformer with the prompts of {@code task}
   */
  protected ScheduledDenoiser(Prompted transformer, DenoiseTask task) {
    this.transformer = transformer;
    this.task = task;
    this.steps = task.schedule().steps();
    this.batch = task.batch();
    this.states = new StepState[steps.size()];
    byMix().forEach((mix, indices) -> prepare(mix, indices, states));
  }

  /** The steps that each mix serves: all of them where no phase has an adapter of its own. */
  @SuppressWarnings("ReferenceEquality") // Equal adapters that were loaded twice may be two mixes.
  private IdentityHashMap<AdapterMix, int[]> byMix() {
    IdentityHashMap<AdapterMix, int[]> indices = new IdentityHashMap<>();
    for (Phase phase : Phase.values()) {
      AdapterMix mix = task.adapters(phase);
      if (!transformer.trainsConditioning(mix)) {
        indices.put(mix, IntStream.range(0, steps.size()).filter(i -> mix(i) == mix).toArray());
      }
    }
    return indices;
  }

  private AdapterMix mix(int step) {
    return task.adapters(steps.get(step).phase());
  }

  /** Computes the states of some of a mix's steps together: their modulation is one matmul. */
  private void prepare(AdapterMix mix, int[] indices, @Nullable StepState[] prepared) {
    if (indices.length == 0) {
      return;
    }
    Tensor context = transformer.context(mix);
    Modulation modulation = transformer.modulation(timesteps(indices), mix);
    for (int i = 0; i < indices.length; i++) {
      prepared[indices[i]] = new StepState(mix, context, modulation.rows((long) i * batch, batch));
    }
  }

  private StepState state(int step) {
    StepState prepared = states[step];
    if (prepared != null) {
      return prepared;
    }
    AdapterMix mix = mix(step);
    Modulation modulation = transformer.modulation(timesteps(step), mix);
    return new StepState(mix, transformer.context(mix), modulation);
  }

  /** Sigma of each row, as diffusers divides it: in f32. */
  private Tensor timesteps(int... indices) {
    float[] rows = new float[indices.length * batch];
    for (int i = 0; i < rows.length; i++) {
      rows[i] = steps.get(indices[i / batch]).timestep() / TIMESTEPS;
    }
    return torch.tensor(rows);
  }

  @Override
  public final Velocity velocity(int stepIndex, Tensor latents) {
    StepState state = state(stepIndex);
    return velocity(latents, state.context(), state.modulation(), state.mix());
  }

  @Override
  public final Velocity unguided(int stepIndex, Tensor latents) {
    StepState state = state(stepIndex);
    return velocity(
        latents, state.context().narrow(0, 0, 1), state.modulation().rows(0, 1), state.mix());
  }

  @Override
  public final Selected selected(StepTable table) {
    TensorVector texts = new TensorVector();
    table.phases().forEach(phase -> texts.push_back(first(phase).context()));
    Tensor contexts = torch.cat(texts, 0);
    Modulation modulations =
        Modulation.joined(
            IntStream.range(0, states.length).mapToObj(i -> state(i).modulation()).toList());
    AdapterChoice adapters = table.adapters();
    Tensor stepRows = table.stepRows();
    Tensor phaseRows = table.phaseRows();
    return latents ->
        velocity(latents, contexts.index_select(0, phaseRows), modulations.at(stepRows), adapters);
  }

  /** The state of some step of {@code phase}; they share the text. */
  private StepState first(Phase phase) {
    int index = 0;
    while (steps.get(index).phase() != phase) {
      index++;
    }
    return state(index);
  }

  private Velocity velocity(
      Tensor latents, Tensor context, Modulation modulation, AdapterChoice adapters) {
    long samples = modulation.rows();
    Tensor velocity =
        transformer.forward(
            samples == 1 ? latents : latents.expand(samples, -1, -1),
            context,
            modulation,
            adapters);
    return samples == 1
        ? new Velocity(velocity, null)
        : new Velocity(velocity.narrow(0, 0, 1), velocity.narrow(0, 1, 1));
  }
}
