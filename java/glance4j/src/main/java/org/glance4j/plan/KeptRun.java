package org.glance4j.plan;

import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;

/**
 * A walk along a schedule, step by step. The tensors belong to the scope they were made in. For one
 * thread.
 */
final class KeptRun {
  private final float[] sigmas;
  private final Tensor states;
  private final Tensor velocities;

  /**
   * Space for a walk.
   *
   * @param sigmas steps + 1 of them, which stay as they are
   * @param latents of the walk's shape, f32
   */
  KeptRun(float[] sigmas, Tensor latents) {
    this.sigmas = sigmas;
    this.states = latents.new_empty(sigmas.length, latents.numel());
    this.velocities = latents.new_empty(steps(), latents.numel());
  }

  /** Keeps where step {@code index} starts and along which velocity it goes. */
  void put(int index, Tensor latents, Tensor velocity) {
    states.select(0, index).copy_(latents.view(-1));
    velocities.select(0, index).copy_(velocity.reshape(-1));
  }

  /** Keeps where the walk ends. */
  void putEnd(Tensor latents) {
    end().copy_(latents.view(-1));
  }

  private int steps() {
    return sigmas.length - 1;
  }

  /** The final latents, f32 [values]. */
  Tensor end() {
    return states.select(0, steps());
  }

  /** Where step {@code index} ends if only its length is another, f32 [values]. */
  Tensor after(int index, float nextSigma) {
    Scalar length = new Scalar(nextSigma - sigmas[index]);
    return velocities.select(0, index).mul(length).add_(states.select(0, index));
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
          lengths[k] = sigmas[j + 1 + k] - sigmas[j];
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
        turning[j] = Math.sqrt(turning[j]) / (sigmas[j] - sigmas[j + 1]);
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
