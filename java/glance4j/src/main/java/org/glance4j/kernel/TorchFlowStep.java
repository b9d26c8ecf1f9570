package org.glance4j.kernel;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * {@link FlowStep} as plain LibTorch operations: what {@link Backend#TORCH} runs, and what the
 * kernels are tested against. LibTorch rounds each result to its tensor's type, so velocities are
 * widened first where rounding is to happen once.
 */
final class TorchFlowStep {
  private static final long[] LAST = {-1};

  private TorchFlowStep() {}

  static void update(
      FlowStep.Rounding rounding,
      Tensor latents,
      Tensor velocity,
      @Nullable Tensor negative,
      Cfg cfg,
      float sigma,
      float sigmaNext,
      @Nullable Tensor latentsBf16) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      boolean widen = rounding == FlowStep.Rounding.ONCE;
      Tensor v = widen ? velocity.to(ScalarType.Float) : velocity;
      if (negative != null) {
        v = combined(v, widen ? negative.to(ScalarType.Float) : negative, cfg);
      }
      Tensor next = latents.to(ScalarType.Float).add(v.mul(new Scalar(sigmaNext - sigma)));
      latents.copy_(next);
      if (latentsBf16 != null) {
        latentsBf16.copy_(next);
      }
    }
  }

  private static Tensor combined(Tensor positive, Tensor negative, Cfg cfg) {
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
    return torch.linalg_vector_norm(tensor, new Scalar(2.0), LAST, true, new ScalarTypeOptional());
  }
}
