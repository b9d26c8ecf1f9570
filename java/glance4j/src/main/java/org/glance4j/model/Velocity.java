package org.glance4j.model;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.Cfg;
import org.jspecify.annotations.Nullable;

/**
 * What the transformer predicts for one step: {@code noise - x_0}.
 *
 * @param positive for the prompt, shape as the latents
 * @param negative for the negative prompt; null without CFG, and for a step whose guidance is 1
 */
public record Velocity(Tensor positive, @Nullable Tensor negative) {
  private static final long[] CHANNELS = {-1};

  /** {@code cfg} as far as there is something to combine: none without the negative prompt's. */
  public Cfg applied(Cfg cfg) {
    return negative == null ? Cfg.NONE : cfg;
  }

  /** Combined as {@code cfg} says, as a new tensor; {@code v_pos} itself without CFG. */
  public Tensor combined(Cfg cfg) {
    if (negative == null) {
      return positive;
    }
    Tensor plain = negative.add(positive.sub(negative).mul(new Scalar(cfg.scale())));
    if (cfg.mode() != Cfg.Mode.RESCALED) {
      return plain;
    }
    Tensor norm = norm(plain);
    Tensor factor = norm(positive).div(norm);
    // A token whose velocities cancel stays zero, where 0/0 would make it NaN.
    return plain.mul(factor.masked_fill(norm.eq(new Scalar(0.0)), new Scalar(1.0)));
  }

  private static Tensor norm(Tensor tensor) {
    return torch.linalg_vector_norm(
        tensor, new Scalar(2.0), CHANNELS, true, new ScalarTypeOptional());
  }
}
