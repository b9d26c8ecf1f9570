package org.glance4j.model.text;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.ModulatedNorm;
import org.glance4j.weights.Weights;

/**
 * Normalizes the last axis of a float32 tensor [batch, tokens, size]. The arithmetic is in float32;
 * the result has the type of the model's weights.
 */
sealed interface Norm {
  /** Normalizes. */
  Tensor apply(Tensor x);

  /** LayerNorm, with a bias. */
  static Norm layer(Weights weights, String name, int size, double epsilon) {
    Tensor weight = weights.take(name + ".weight", size);
    Tensor bias = weights.take(name + ".bias", size);
    return new Layer(f32(weights, weight), f32(weights, bias), epsilon, weight.scalar_type());
  }

  /**
   * RMSNorm, which subtracts no mean.
   *
   * @param backend that computes it: LibTorch takes six operations on the CPU
   */
  static Norm rms(Weights weights, String name, int size, double epsilon, Backend backend) {
    Tensor weight = weights.take(name + ".weight", size);
    Tensor scale = weights.keep(weight.to(ScalarType.Float).sub(new Scalar(1)).unsqueeze(0));
    return new Rms(ModulatedNorm.on(backend), scale, epsilon, weight.scalar_type());
  }

  private static Tensor f32(Weights weights, Tensor tensor) {
    return weights.keep(tensor.to(ScalarType.Float));
  }

  /** See {@link Norm#layer}. */
  record Layer(Tensor weight, Tensor bias, double epsilon, ScalarType dtype) implements Norm {
    @Override
    public Tensor apply(Tensor x) {
      long[] lastAxis = {weight.size(0)};
      TensorOptional factor = new TensorOptional(weight);
      TensorOptional offset = new TensorOptional(bias);
      return torch.layer_norm(x, lastAxis, factor, offset, epsilon, false).to(dtype);
    }
  }

  /**
   * See {@link Norm#rms}.
   *
   * @param scale the weight less 1, as {@link ModulatedNorm} takes it: [1, size]. Of a bfloat16
   *     weight of 1e-5 or more nothing is lost, of others some 6e-8
   */
  record Rms(ModulatedNorm operation, Tensor scale, double epsilon, ScalarType dtype)
      implements Norm {
    @Override
    public Tensor apply(Tensor x) {
      // One vector for all samples: as the tokens of a single one.
      Tensor tokens = x.view(1, -1, x.size(2));
      Tensor y = operation.forward(tokens, ModulatedNorm.Norm.RMS, epsilon, scale, null);
      return y.view(x.size(0), -1, x.size(2)).to(dtype);
    }
  }
}
