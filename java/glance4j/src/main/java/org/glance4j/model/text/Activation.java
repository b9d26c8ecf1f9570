package org.glance4j.model.text;

import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.weights.ConfigFile;

/** The functions between the two layers of a feed-forward network. */
enum Activation {
  /** {@code x * sigmoid(1.702 x)}. */
  QUICK_GELU {
    @Override
    Tensor apply(Tensor x) {
      return x.mul(new Scalar(1.702)).sigmoid_().mul_(x);
    }
  },
  /** {@code x * Phi(x)} with the normal distribution's Phi. */
  GELU {
    @Override
    Tensor apply(Tensor x) {
      return torch.gelu(x);
    }
  },
  /** GELU with its approximation by tanh. */
  GELU_TANH {
    @Override
    Tensor apply(Tensor x) {
      return torch.gelu(x, "tanh");
    }
  },
  /** {@code max(x, 0)}. */
  RELU {
    @Override
    Tensor apply(Tensor x) {
      return x.relu();
    }
  },
  /** {@code x * sigmoid(x)}. */
  SILU {
    @Override
    Tensor apply(Tensor x) {
      return torch.silu(x);
    }
  };

  private static final Map<String, Activation> BY_NAME =
      Map.of(
          "quick_gelu", QUICK_GELU,
          "gelu", GELU,
          "gelu_new", GELU_TANH,
          "gelu_pytorch_tanh", GELU_TANH,
          "relu", RELU,
          "silu", SILU,
          "swish", SILU);

  /** A new tensor, of {@code x}'s shape and type. */
  abstract Tensor apply(Tensor x);

  /** The function that transformers calls {@code name}, the value of {@code key}. */
  static Activation named(ConfigFile config, String key, String name) {
    Activation activation = BY_NAME.get(name);
    if (activation == null) {
      throw config.error(
          key,
          "\""
              + name
              + "\" is not supported; expected one of "
              + BY_NAME.keySet().stream().sorted().toList());
    }
    return activation;
  }
}
