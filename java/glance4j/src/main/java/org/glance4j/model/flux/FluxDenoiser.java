package org.glance4j.model.flux;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
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
   * What one phase applies to its steps.
   *
   * @param context [batch, text tokens, width]
   * @param modulation batch rows for each step of the schedule, whatever its phase
   */
  private record PhaseState(AdapterMix mix, Tensor context, Modulation modulation) {}

  private final FluxTransformer transformer;
  private final List<Step> steps;
  private final int batch;
  private final Rope rope;

  /** One for each step; those of one phase share theirs. */
  private final List<PhaseState> states = new ArrayList<>();

  FluxDenoiser(FluxTransformer transformer, DenoiseTask task, FluxLatents layout) {
    this.transformer = transformer;
    this.steps = task.schedule().steps();
    FluxConditioning positive = (FluxConditioning) task.positive();
    FluxConditioning negative = (FluxConditioning) task.negative();
    this.batch = negative == null ? 1 : 2;
    Tensor embeds = positive.embeds();
    Tensor pooled = positive.pooled();
    if (negative != null) {
      embeds = torch.cat(new TensorVector(embeds, negative.embeds()), 0);
      pooled = torch.cat(new TensorVector(pooled, negative.pooled()), 0);
    }
    this.rope = transformer.rope((int) embeds.size(1), layout);
    Map<Phase, PhaseState> byPhase = new EnumMap<>(Phase.class);
    for (Step step : steps) {
      PhaseState known = byPhase.get(step.phase());
      PhaseState state =
          known == null
              ? state(task.adapters(step.phase()), embeds, pooled, task.guidance())
              : known;
      byPhase.put(step.phase(), state);
      states.add(state);
    }
  }

  private PhaseState state(AdapterMix mix, Tensor embeds, Tensor pooled, double guidance) {
    Tensor rowsOfPooled = pooled.repeat(steps.size(), 1);
    Modulation modulation =
        transformer.modulation(timesteps(), guidanceRows(guidance), rowsOfPooled, mix);
    return new PhaseState(mix, transformer.context(embeds, mix), modulation);
  }

  /** Sigma of each row, as diffusers divides it: in f32. */
  private Tensor timesteps() {
    float[] rows = new float[steps.size() * batch];
    for (int i = 0; i < rows.length; i++) {
      rows[i] = steps.get(i / batch).timestep() / TIMESTEPS;
    }
    return torch.tensor(rows);
  }

  private @Nullable Tensor guidanceRows(double guidance) {
    return transformer.config().guidanceEmbeds()
        ? torch.full(
            new long[] {(long) steps.size() * batch},
            new Scalar(guidance),
            new TensorOptions(ScalarType.Float))
        : null;
  }

  @Override
  public Velocity velocity(int stepIndex, Tensor latents) {
    PhaseState phase = states.get(stepIndex);
    Tensor velocity =
        transformer.forward(
            batch == 1 ? latents : latents.expand(batch, -1, -1),
            phase.context(),
            phase.modulation().rows((long) stepIndex * batch, batch),
            rope,
            phase.mix());
    return batch == 1
        ? new Velocity(velocity, null)
        : new Velocity(velocity.narrow(0, 0, 1), velocity.narrow(0, 1, 1));
  }
}
