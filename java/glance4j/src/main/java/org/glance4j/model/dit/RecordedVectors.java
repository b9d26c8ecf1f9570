package org.glance4j.model.dit;

import org.bytedeco.pytorch.T_TensorTensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * The vectors that blocks read in a {@link Recording}, in order, and where their gradients are
 * written. For one thread.
 */
public final class RecordedVectors {
  private final Modulation values;
  private final @Nullable Modulation gradients;
  private final Modulation.Reader valueReader;
  private final Modulation.@Nullable Reader gradientReader;

  /**
   * @param values without gradients of LibTorch's
   * @param gradients null if none are wanted
   */
  RecordedVectors(Modulation values, @Nullable Modulation gradients) {
    this.values = values;
    this.gradients = gradients;
    this.valueReader = values.reader();
    this.gradientReader = gradients == null ? null : gradients.reader();
  }

  /** The next {@code count} ones by themselves. */
  public RecordedVectors next(int count) {
    return new RecordedVectors(
        valueReader.next(count), gradientReader == null ? null : gradientReader.next(count));
  }

  /** The same, from the first on. */
  public RecordedVectors again() {
    return new RecordedVectors(values, gradients);
  }

  /** True if their gradients are wanted. */
  boolean wantsGradients() {
    return gradients != null;
  }

  /** How many have been read. */
  long read() {
    return valueReader.read();
  }

  /** Keeps them until the backward pass is done. */
  public RecordedVectors keptBy(Recording recording) {
    recording.keep(values.values());
    if (gradients != null) {
      recording.keep(gradients.values());
    }
    return this;
  }

  /** The next three: shift, scale, gate. */
  public Layer nextAdaLn(Recording recording) {
    AdaLn own = valueReader.nextAdaLn();
    recording.keep(own.scale());
    recording.keep(own.gate());
    if (gradientReader == null) {
      return new Layer(own, null);
    }
    AdaLn written = gradientReader.nextAdaLn();
    recording.keep(written.shift());
    recording.keep(written.scale());
    recording.keep(written.gate());
    return new Layer(own, written);
  }

  /**
   * One layer's vectors.
   *
   * @param gradients where theirs are written; null if they are not wanted
   */
  public record Layer(AdaLn vectors, @Nullable AdaLn gradients) {
    /**
     * {@code residual + gate * y}.
     *
     * @param y kept if the gate's gradient is wanted
     */
    public Tensor gated(Tensor residual, Tensor y, Recording recording) {
      if (gradients != null) {
        recording.keep(y);
      }
      return torch.addcmul(residual, vectors.gate(), y);
    }

    /** The gradient of {@code y} from that of what {@link #gated} gave. */
    public Tensor gatedBackward(Tensor gradient, Tensor y) {
      if (gradients != null) {
        gradients.gate().copy_(sum(gradient.mul(y)));
      }
      return gradient.mul(vectors.gate());
    }

    /** The gradient of x from that of what {@link AdaLn#modulate} gave. */
    public Tensor modulateBackward(Tensor x, Tensor gradient) {
      T_TensorTensorTensor_T normed = AdaLn.normed(x);
      if (gradients != null) {
        gradients.scale().copy_(sum(gradient.mul(normed.get0())));
        gradients.shift().copy_(sum(gradient));
      }
      return vectors.backward(x, normed, gradient);
    }

    /** Over a sample's tokens. */
    private static Tensor sum(Tensor perToken) {
      return perToken.sum(1).unsqueeze(1);
    }
  }
}
