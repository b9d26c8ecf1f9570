package org.glance4j.model.flux;

import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
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
 * The transformer with everything computed that does not depend on the latents: for each phase,
 * since adapters may change it, the projected text and the modulation of every step.
 *
 * <p>Positive and negative prompt run as one batch: row 0 and row 1.
 */
final class FluxDenoiser implements Denoiser {
  /** The model's own unit for noise levels is sigma, not the timestep of 0 to 1000. */
  private static final float TIMESTEPS = 1000;

  /**
   * What one step needs beside the latents.
   *
   * @param context [batch, text tokens, width]
   * @param modulation of its batch
   */
  private record StepState(AdapterMix mix, Tensor context, Modulation modulation) {}

  private final FluxTransformer transformer;
  private final DenoiseTask task;
  private final List<Step> steps;
  private final int batch;
  private final Tensor embeds;
  private final Tensor pooled;
  private final Rope rope;

  /** By step; null for those that are computed in each evaluation, to record gradients. */
  private final @Nullable StepState[] states;

  FluxDenoiser(FluxTransformer transformer, DenoiseTask task, FluxLatents layout) {
    this.transformer = transformer;
    this.task = task;
    this.steps = task.schedule().steps();
    FluxConditioning positive = (FluxConditioning) task.positive();
    FluxConditioning negative = (FluxConditioning) task.negative();
    this.batch = task.batch();
    this.embeds =
        negative == null
            ? positive.embeds()
            : torch.cat(new TensorVector(positive.embeds(), negative.embeds()), 0);
    this.pooled =
        negative == null
            ? positive.pooled()
            : torch.cat(new TensorVector(positive.pooled(), negative.pooled()), 0);
    this.rope = transformer.rope((int) embeds.size(1), layout);
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
    Tensor context = transformer.context(embeds, mix);
    Modulation modulation =
        transformer.modulation(
            timesteps(indices),
            guidance(task.guidance(), indices.length),
            pooled.repeat(indices.length, 1),
            mix);
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
    return transformer.place(torch.tensor(rows));
  }

  private @Nullable Tensor guidance(double guidance, int count) {
    return transformer.config().guidanceEmbeds()
        ? transformer.place(
            torch.full(
                new long[] {(long) count * batch},
                new Scalar(guidance),
                new TensorOptions(ScalarType.Float)))
        : null;
  }

  @Override
  public Velocity velocity(int stepIndex, Tensor latents) {
    StepState state = state(stepIndex);
    return velocity(latents, state.context(), state.modulation(), state.mix());
  }

  @Override
  public Selected selected(StepTable table) {
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
            batch == 1 ? latents : latents.expand(batch, -1, -1),
            context,
            modulation,
            rope,
            adapters);
    return batch == 1
        ? new Velocity(velocity, null)
        : new Velocity(velocity.narrow(0, 0, 1), velocity.narrow(0, 1, 1));
  }
}
