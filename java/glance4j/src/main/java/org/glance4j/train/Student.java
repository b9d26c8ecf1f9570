package org.glance4j.train;

import java.util.List;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Cfg;
import org.glance4j.kernel.FlowStep;
import org.glance4j.model.Conditioning;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.model.Trajectory;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.Step;
import org.jspecify.annotations.Nullable;

/**
 * The model with an adapter in training, walking the steps of its phase.
 *
 * @param negative null without CFG
 * @param starts where it begins, for each of the teacher's paths
 */
record Student(
    ImageModel model,
    ImageSize size,
    FlowStep flowStep,
    double guidance,
    @Nullable Conditioning negative,
    Cfg cfg,
    PhaseSteps steps,
    List<Tensor> starts) {

  /** Where it begins on the teacher's path {@code index}. */
  Tensor start(int index) {
    return starts.get(index);
  }

  /**
   * Walks from {@code start} until before step {@code end} of the schedule.
   *
   * @return new latents of the caller's scope
   */
  Tensor walk(TeacherPath path, Tensor start, int end, TrainableAdapter adapter) {
    try (NoGradGuard noGrad = new NoGradGuard()) {
      Tensor latents = start.clone();
      List<Step> walked = steps.schedule().steps().subList(steps.first(), end);
      if (walked.isEmpty()) {
        return latents;
      }
      DenoiseTask task =
          new DenoiseTask(
              path.prompt(),
              negative,
              size,
              guidance,
              new Schedule("student", walked),
              adapter.mixes());
      try (Denoiser denoiser = model.denoiser(task)) {
        Trajectory.walk(
            denoiser, walked, flowStep, cfg, latents, (index, step, at, velocity) -> {});
      }
      return latents;
    }
  }
}
