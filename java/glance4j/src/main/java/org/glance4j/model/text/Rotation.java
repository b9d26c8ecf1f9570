package org.glance4j.model.text;

import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Rotary position embedding (RoFormer, arXiv 2104.09864) of a language model: channel j of a head
 * and channel j + width / 2 are a complex number, turned by the position times {@code theta^(-2j /
 * width)}. Immutable.
 *
 * @param cos float32 [tokens, width / 2]
 * @param sin float32 [tokens, width / 2]
 */
record Rotation(Tensor cos, Tensor sin) {
  /** The rotation of tokens at 0, 1, 2, ...; its tensors belong to the caller's scope. */
  static Rotation of(long tokens, int headWidth, double theta, Device device) {
    // In float32, as in the model's own code: exact angles of far positions differ by 7e-5. On the
    // CPU, so that every device gets the same ones.
    TensorOptions f32 = new TensorOptions(ScalarType.Float);
    Tensor channel = torch.arange(new Scalar(0), new Scalar(headWidth), new Scalar(2), f32);
    Tensor exponent = channel.div(new Scalar((double) headWidth));
    Tensor frequency = torch.pow(new Scalar(theta), exponent).reciprocal();
    Tensor angle = torch.outer(torch.arange(new Scalar(tokens), f32), frequency);
    return new Rotation(
        angle.cos().to(device, ScalarType.Float), angle.sin().to(device, ScalarType.Float));
  }

  /** Turns each token of {@code heads}: float32 [batch, heads, tokens, width], a new tensor. */
  Tensor rotate(Tensor heads) {
    long half = cos.size(1);
    Tensor real = heads.narrow(3, 0, half);
    Tensor imaginary = heads.narrow(3, half, half);
    return torch.cat(
        new TensorVector(
            real.mul(cos).sub(imaginary.mul(sin)), imaginary.mul(cos).add(real.mul(sin))),
        3);
  }
}
