package org.glance4j.plan;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.model.Denoiser;
import org.glance4j.schedule.Step;

/**
 * How the ends of runs move with the numbers of their schedule, by finite differences: each number
 * in turn is nudged.
 */
final class Sensitivities {
  /** A sigma is moved by this part of the shorter step beside it. */
  private static final float SIGMA_NUDGE = 0.1f;

  private static final float CFG_NUDGE = 0.1f;

  private final BaseRuns base;
  private final GuidedSigmas schedule;
  private final int count;
  private final boolean withCfgs;
  private final float[] nudged;
  private final List<Step> steps;

  /**
   * Of one schedule.
   *
   * @param withCfgs whether guidances are nudged too
   */
  Sensitivities(BaseRuns base, GuidedSigmas schedule, boolean withCfgs) {
    this.base = base;
    this.schedule = schedule;
    this.count = schedule.steps();
    this.withCfgs = withCfgs;
    this.nudged = nudged(schedule.sigmas());
    this.steps = new ArrayList<>(base.steps(schedule));
    for (int k = 1; k < count; k++) {
      steps.add(base.step(nudged[k], schedule.sigmas()[k + 1], schedule.cfgs()[k]));
    }
  }

  private static float[] nudged(float[] sigmas) {
    float[] nudged = sigmas.clone();
    for (int k = 1; k < sigmas.length - 1; k++) {
      float room = Math.min(sigmas[k - 1] - sigmas[k], sigmas[k] - sigmas[k + 1]);
      nudged[k] -= SIGMA_NUDGE * room;
    }
    return nudged;
  }

  /** How many numbers are nudged: the sigmas between the first and the 0, then the guidances. */
  int unknowns() {
    return count - 1 + (withCfgs ? count : 0);
  }

  /**
   * How prompt p's end moves with each of the {@link #unknowns}, and as the last row its distance
   * from {@code goal}: f64 [unknowns + 1, values].
   */
  Tensor of(int p, Tensor goal) {
    try (Denoiser denoiser = base.denoiser(p, steps)) {
      return of(p, goal, denoiser);
    }
  }

  private Tensor of(int p, Tensor goal, Denoiser denoiser) {
    KeptRun run = base.keep(p, denoiser, schedule);
    Tensor end = run.end();
    Tensor rows = end.new_empty(unknowns() + 1, end.numel()).to(ScalarType.Double);
    for (int k = 1; k < count; k++) {
      try (PointerScope scope = new PointerScope()) {
        // Up to sigma k the run is the kept one, but for the length of its last step.
        Tensor latents = base.noise(p);
        latents.view(-1).copy_(run.after(k - 1, nudged[k]));
        base.advance(denoiser, count + k - 1, steps.get(count + k - 1), latents);
        put(rows.select(0, k - 1), walk(denoiser, k + 1, latents), end, k);
      }
    }
    for (int i = 0; withCfgs && i < count; i++) {
      try (PointerScope scope = new PointerScope()) {
        Tensor latents = base.noise(p);
        latents.view(-1).copy_(run.guided(i, CFG_NUDGE));
        Tensor moved = walk(denoiser, i + 1, latents).sub(end);
        rows.select(0, count - 1 + i).copy_(moved.div_(new Scalar(CFG_NUDGE)));
      }
    }
    rows.select(0, unknowns()).copy_(end.sub(goal));
    return rows;
  }

  private void put(Tensor row, Tensor moved, Tensor end, int k) {
    row.copy_(moved.sub(end).div_(new Scalar(nudged[k] - schedule.sigmas()[k])));
  }

  /** Takes the schedule's steps from step {@code from}: where that ends, [values]. */
  private Tensor walk(Denoiser denoiser, int from, Tensor latents) {
    for (int i = from; i < count; i++) {
      base.advance(denoiser, i, steps.get(i), latents);
    }
    return latents.view(-1);
  }
}
