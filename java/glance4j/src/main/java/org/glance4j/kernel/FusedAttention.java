package org.glance4j.kernel;

import java.util.Locale;
import org.bytedeco.pytorch.Context;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;

/**
 * The attentions that LibTorch has for tensors on a CUDA device, which the kernel library leaves to
 * it. The system property {@value #PROPERTY} names the one to use, {@code libtorch} by default.
 */
enum FusedAttention {
  /** Whichever of its own LibTorch picks: FlashAttention, or memory-efficient attention in f32. */
  LIBTORCH {
    @Override
    Tensor attend(Tensor q, Tensor k, Tensor v, double scale) {
      return scaledDotProduct(q, k, v, scale);
    }
  },

  /**
   * cuDNN's, and none other: bf16 and f16 only, and what cuDNN cannot do is an error. LibTorch
   * chooses by switches of the whole process, which are set for the length of a call.
   */
  CUDNN {
    @Override
    Tensor attend(Tensor q, Tensor k, Tensor v, double scale) {
      synchronized (SWITCHES) {
        Context context = torch.globalContext();
        Switches before = Switches.of(context);
        new Switches(false, false, false, true).apply(context);
        try {
          return scaledDotProduct(q, k, v, scale);
        } finally {
          before.apply(context);
        }
      }
    }
  };

  /** The system property that names one, in any case; read when a model is loaded. */
  static final String PROPERTY = "glance.cuda.attention";

  private static final Object SWITCHES = new Object();

  /** Which of its attentions LibTorch may choose. */
  private record Switches(boolean flash, boolean memoryEfficient, boolean math, boolean cudnn) {
    static Switches of(Context context) {
      return new Switches(
          context.userEnabledFlashSDP(),
          context.userEnabledMemEfficientSDP(),
          context.userEnabledMathSDP(),
          context.userEnabledCuDNNSDP());
    }

    void apply(Context context) {
      context.setSDPUseFlash(flash);
      context.setSDPUseMemEfficient(memoryEfficient);
      context.setSDPUseMath(math);
      context.setSDPUseCuDNN(cudnn);
    }
  }

  /**
   * The one named {@code text}, in any case.
   *
   * @throws IllegalArgumentException if there is none
   */
  static FusedAttention parse(String text) {
    for (FusedAttention attention : values()) {
      if (attention.name().equalsIgnoreCase(text)) {
        return attention;
      }
    }
    throw new IllegalArgumentException(
        PROPERTY + " \"" + text + "\" is not known; use libtorch or cudnn");
  }

  /** The one that {@value #PROPERTY} names. */
  static FusedAttention chosen() {
    return parse(System.getProperty(PROPERTY, LIBTORCH.toString()));
  }

  /**
   * {@code softmax(scale * q k^T) v}.
   *
   * @param q [batch, heads, queries, dim]
   * @param k [batch, heads, keys, dim]
   * @param v as k
   * @return shape of q, in its type; the caller's
   */
  abstract Tensor attend(Tensor q, Tensor k, Tensor v, double scale);

  private static Tensor scaledDotProduct(Tensor q, Tensor k, Tensor v, double scale) {
    return torch.scaled_dot_product_attention(
        q, k, v, new TensorOptional(), 0, false, new DoubleOptional(scale), false);
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
