package org.glance4j.train;

import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Cfg;
import org.glance4j.kernel.FlowStep;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.Conditioning;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.model.Trajectory;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.Step;
import org.jspecify.annotations.Nullable;

/**
 * How pictures are sampled from a model, whatever the prompt and the adapters.
 *
 * @param guidance see {@link DenoiseTask#guidance()}
 * @param negative null without CFG
 */
record Sampler(
    ImageModel model,
    ImageSize size,
    FlowStep flowStep,
    double guidance,
    @Nullable Conditioning negative,
    Cfg cfg) {

  /**
   * Walks {@code steps}, of which there may be none, without recording gradients.
   *
   * @param latents where to start, f32 [1, tokens, channels]; changed to where the walk ends
   */
  void walk(
      Conditioning prompt,
      Tensor latents,
      List<Step> steps,
      Map<Phase, AdapterMix> adapters,
      Trajectory.Visitor visitor) {
    if (steps.isEmpty()) {
      return;
    }
    Schedule schedule = new Schedule("training", steps);
    DenoiseTask task = new DenoiseTask(prompt, negative, size, guidance, schedule, adapters);
    try (NoGradGuard noGrad = new NoGradGuard();
        Denoiser denoiser = model.denoiser(task)) {
      Trajectory.walk(denoiser, steps, flowStep, cfg, latents, visitor);
    }
  }
}
