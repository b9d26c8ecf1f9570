package org.glance4j.train;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;

/**
 * AdamW (arXiv 1711.05101) over one flat vector of parameters, in LibTorch's order of operations:
 *
 * <pre>
 *   p *= 1 - rate * decay
 *   m += (1 - beta1) (g - m)
 *   v  = beta2 v + (1 - beta2) g g
 *   p -= rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
 * </pre>
 *
 * @param beta1 of the mean gradient
 * @param beta2 of the mean squared gradient
 * @param epsilon keeps the quotient finite
 * @param decay weight decay
 */
record AdamW(double beta1, double beta2, double epsilon, double decay) {
  /** The published settings. */
  static AdamW published(double decay) {
    return new AdamW(0.9, 0.999, 1e-8, decay);
  }

  /**
   * Takes step {@code t}. All tensors are flat f32 of one length and but for the gradients change.
   *
   * @param t from 1
   */
  void step(Tensor parameters, Tensor gradients, Tensor mean, Tensor square, double rate, int t) {
    double correction1 = 1 - Math.pow(beta1, t);
    double correction2 = 1 - Math.pow(beta2, t);
    try (PointerScope scope = new PointerScope()) {
      parameters.mul_(new Scalar(1 - rate * decay));
      mean.lerp_(gradients, new Scalar(1 - beta1));
      square.mul_(new Scalar(beta2)).addcmul_(gradients, gradients, new Scalar(1 - beta2));
      Tensor denominator =
          square.sqrt().div_(new Scalar(Math.sqrt(correction2))).add_(new Scalar(epsilon));
      parameters.addcdiv_(mean, denominator, new Scalar(-rate / correction1));
    }
  }
}
