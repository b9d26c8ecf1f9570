package org.glance4j.plan;

import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.Cfg;
import org.glance4j.model.Velocity;
import org.jspecify.annotations.Nullable;

/**
 * A walk along a schedule, step by step. The tensors belong to the scope they were made in. For one
 * thread.
 */
final class KeptRun {
  /** The least difference of two guidances that says how the velocity changes with it. */
  private static final float CFG_NUDGE = 0.1f;

  private final GuidedSigmas schedule;
  private final Tensor states;
  private final Tensor velocities;
  private final Cfg cfg;
  private final @Nullable Tensor contrasts;

  /**
   * Space for a walk.
   *
   * @param schedule stays as it is
   * @param latents of the walk's shape, f32
   * @param cfg how its velocities are combined; {@link Cfg#NONE} if they have no negative part
   */
  KeptRun(GuidedSigmas schedule, Tensor latents, Cfg cfg) {
    this.schedule = schedule;
    this.states = latents.new_empty(steps() + 1, latents.numel());
    this.velocities = latents.new_empty(steps(), latents.numel());
    this.cfg = cfg;
    this.contrasts =
        cfg.mode() == Cfg.Mode.NONE ? null : latents.new_empty(steps(), latents.numel());
  }

  /** Keeps where step {@code index} starts and along which velocity it goes. */
  void put(int index, Tensor latents, Velocity velocity) {
    states.select(0, index).copy_(latents.view(-1));
    float scale = schedule.cfgs()[index];
    Tensor combined = velocity.combined(cfg.at(scale));
    velocities.select(0, index).copy_(combined.reshape(-1));
    if (contrasts != null) {
      Tensor contrast = contrast(velocity, cfg, scale, scale + CFG_NUDGE);
      contrasts.select(0, index).copy_(contrast.reshape(-1));
    }
  }

  /**
   * By how much the velocity grows with the guidance: {@code v_pos - v_neg}, or where it does not
   * grow evenly the mean between two guidances.
   */
  static Tensor contrast(Velocity velocity, Cfg cfg, float from, float to) {
    Tensor negative = velocity.negative();
    if (negative == null) {
      throw new IllegalStateException("no contrast without CFG");
    }
    if (cfg.mode() == Cfg.Mode.PLAIN) {
      return velocity.positive().sub(negative);
    }
    float end = Math.max(to, from + CFG_NUDGE);
    return velocity
        .combined(cfg.at(end))
        .sub(velocity.combined(cfg.at(from)))
        .div(new Scalar(end - from));
  }

  /** Keeps where the walk ends. */
  void putEnd(Tensor latents) {
    end().copy_(latents.view(-1));
  }

  private int steps() {
    return schedule.steps();
  }

  private float length(int index) {
    return schedule.sigmas()[index + 1] - schedule.sigmas()[index];
  }

  /** Where each step starts, and the end: f32 [steps + 1, values]. */
  Tensor states() {
    return states;
  }

  /** The final latents, f32 [values]. */
  Tensor end() {
    return states.select(0, steps());
  }

  /** Where step {@code index} ends if only its length is another, f32 [values]. */
  Tensor after(int index, float nextSigma) {
    Scalar length = new Scalar(nextSigma - schedule.sigmas()[index]);
    return velocities.select(0, index).mul(length).add_(states.select(0, index));
  }

  /** Where step {@code index} ends if only its guidance is larger by {@code more}. */
  Tensor guided(int index, float more) {
    return contrasts()
        .select(0, index)
        .mul(new Scalar(more * length(index)))
        .add_(states.select(0, index + 1));
  }

  private Tensor contrasts() {
    if (contrasts == null) {
      throw new IllegalStateException("no guidance in a walk without CFG");
    }
    return contrasts;
  }

  /**
   * By how much one Euler step from node j misses node k, {@code |x_j + (sigma_k - sigma_j) v_j -
   * x_k|^2}: {@code [j][k]}, 0 unless j is below k.
   */
  double[][] jumpErrors(Backend backend) {
    double[][] errors = new double[steps() + 1][steps() + 1];
    for (int j = 0; j < steps(); j++) {
      try (PointerScope scope = new PointerScope()) {
        int targets = steps() - j;
        float[] lengths = new float[targets];
        for (int k = 0; k < targets; k++) {
          lengths[k] = schedule.sigmas()[j + 1 + k] - schedule.sigmas()[j];
        }
        Tensor column = backend.place(torch.tensor(lengths)).unsqueeze(1);
        Tensor missed =
            column
                .mul(velocities.select(0, j))
                .add_(states.select(0, j))
                .sub_(states.narrow(0, j + 1, targets));
        System.arraycopy(doubles(missed.square_().sum(1)), 0, errors[j], j + 1, targets);
      }
    }
    return errors;
  }

  /** {@code |v_{j+1} - v_j| / (sigma_j - sigma_{j+1})}, for each step but the last. */
  double[] turning() {
    try (PointerScope scope = new PointerScope()) {
      int intervals = steps() - 1;
      Tensor turns = velocities.narrow(0, 1, intervals).sub(velocities.narrow(0, 0, intervals));
      double[] turning = doubles(turns.square_().sum(1));
      for (int j = 0; j < intervals; j++) {
        turning[j] = Math.sqrt(turning[j]) / -length(j);
      }
      return turning;
    }
  }

  /** The values of a tensor of one dimension. */
  static double[] doubles(Tensor vector) {
    Tensor cpu = vector.to(ScalarType.Double).cpu().contiguous();
    double[] values = new double[Math.toIntExact(cpu.numel())];
    new DoublePointer(cpu.data_ptr()).get(values);
    return values;
  }
}
