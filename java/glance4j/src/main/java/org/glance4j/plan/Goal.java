package org.glance4j.plan;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;

/**
 * Where one prompt's runs should go.
 *
 * @param sigmas of the fine trajectory's nodes, decreasing
 * @param path the latents at these nodes, or at the last of them only: f32 [nodes or 1, values]
 * @param weight {@code 1 / (|end|^2 prompts)}: makes a squared distance its part of the error
 */
@SuppressWarnings("ArrayRecordComponent") // Never compared.
record Goal(float[] sigmas, Tensor path, double weight) {
  /** The final latents, f32 [values]. */
  Tensor end() {
    return path.select(0, path.size(0) - 1);
  }

  /** The latents at any sigma, f32 [values]: between two nodes an Euler step goes straight. */
  Tensor at(float sigma) {
    int next = 1;
    while (next < sigmas.length - 1 && sigmas[next] > sigma) {
      next++;
    }
    double part = (sigmas[next - 1] - sigma) / (sigmas[next - 1] - sigmas[next]);
    return path.select(0, next - 1).lerp(path.select(0, next), new Scalar(part));
  }
}
