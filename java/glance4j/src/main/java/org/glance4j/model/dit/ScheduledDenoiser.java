package org.glance4j.model.dit;

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
     * @param latents shape [batch, imageTokens, inChannels]
     * @param context from {@link #context}
     * @param modulation of one step
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
    for (Phase phase : Phase.values()) {
      int[] indices =
          IntStream.range(0, steps.size()).filter(i -> steps.get(i).phase() == phase).toArray();
      if (indices.length > 0 && !transformer.trainsConditioning(task.adapters(phase))) {
        List<StepState> prepared = prepare(phase, indices);
        for (int i = 0; i < indices.length; i++) {
          states[indices[i]] = prepared.get(i);
        }
      }
    }
  }

  /** Computes the states of some of a phase's steps together: their modulation is one matmul. */
  private List<StepState> prepare(Phase phase, int... indices) {
    AdapterMix mix = task.adapters(phase);
    Tensor context = transformer.context(mix);
    Modulation modulation = transformer.modulation(timesteps(indices), mix);
    return IntStream.range(0, indices.length)
        .mapToObj(i -> new StepState(mix, context, modulation.rows((long) i * batch, batch)))
        .toList();
  }

  private StepState state(int step) {
    StepState prepared = states[step];
    return prepared == null ? prepare(steps.get(step).phase(), step).get(0) : prepared;
  }

  /** Sigma of each row, as diffusers divides it: in f32. */
  private Tensor timesteps(int[] indices) {
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
    Tensor velocity =
        transformer.forward(
            batch == 1 ? latents : latents.expand(batch, -1, -1), context, modulation, adapters);
    return batch == 1
        ? new Velocity(velocity, null)
        : new Velocity(velocity.narrow(0, 0, 1), velocity.narrow(0, 1, 1));
  }
}
