package org.glance4j.model.dit;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.weights.Weights;

/** A number as cosines and sines of its products with 128 frequencies. */
public final class Sinusoids {
  private static final int FREQUENCIES = 128;

  /** How many values stand for one number. */
  public static final int WIDTH = 2 * FREQUENCIES;

  private Sinusoids() {}

  /**
   * {@code 10000^(-j/128)}: the exponent rounded to f32, as in the reference, then the power.
   *
   * @param weights who owns the result
   * @param dtype what the frequencies are rounded to
   * @return f32 [128]
   */
  public static Tensor keepFrequencies(Weights weights, ScalarType dtype) {
    try (PointerScope scope = new PointerScope()) {
      Tensor index = torch.arange(new Scalar(FREQUENCIES), new TensorOptions(ScalarType.Float));
      Tensor exponent = index.mul(new Scalar(-Math.log(10_000))).div(new Scalar(FREQUENCIES));
      Tensor exact = exponent.to(ScalarType.Double).exp().to(ScalarType.Float);
      return weights.keep(exact.to(dtype).to(ScalarType.Float));
    }
  }

  /**
   * The cosines, then the sines.
   *
   * @param angles f32 [rows, 128]
   * @return shape [rows, 256], in {@code dtype}
   */
  public static Tensor of(Tensor angles, ScalarType dtype) {
    return torch.cat(new TensorVector(angles.cos(), angles.sin()), 1).to(dtype);
  }
}
