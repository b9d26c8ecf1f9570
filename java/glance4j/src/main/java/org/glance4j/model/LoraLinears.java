package org.glance4j.model;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraPair;
import org.jspecify.annotations.Nullable;

/**
 * Linears that read the same input (q, k and v, say), as one whose outputs lie side by side:
 *
 * <pre>y = activation(x W^T + b + sum over the mix of strength * scale * (x A^T) B^T)</pre>
 *
 * <p>Each {@link Slice} of the output columns finds its own A and B by name. The mix is an argument
 * of every call, so a phase change moves no weights. Thread-safe but for {@link #close()}.
 */
public sealed interface LoraLinears extends AutoCloseable
    permits TorchLinears, TrainingLinears, PackedLinears {
  /**
   * One linear's columns of the output.
   *
   * @param name the name adapters know it by
   * @param offset its first column
   * @param outFeatures how many columns it has
   * @param activation what is done with its result
   */
  record Slice(String name, long offset, long outFeatures, Activation activation) {}

  /**
   * Applies the linears.
   *
   * @param x shape [..., inFeatures]
   * @param mix the adapters to apply; linears that an adapter does not name stay as they are
   * @return shape [..., the outFeatures of all]
   */
  Tensor forward(Tensor x, AdapterChoice mix);

  /** As {@link #forward(Tensor, AdapterChoice)} without activations. */
  Tensor project(Tensor x, AdapterChoice mix);

  /**
   * {@code residual + gate * y}; for a single linear without an activation.
   *
   * @param x shape [batch, tokens, inFeatures]
   * @param mix the adapters to apply
   * @param gate shape [batch, 1, outFeatures]
   * @param residual shape [batch, tokens, outFeatures]
   * @return a new tensor of residual's shape
   */
  Tensor forward(Tensor x, AdapterChoice mix, Tensor gate, Tensor residual);

  /**
   * The backward pass of {@link #project}, for linears opened for training.
   *
   * @param x what the linears read; requires no gradient
   * @param dy the gradient of what they gave, of its shape
   * @param mix the adapters that were applied, with the values they had
   * @param gradients what the adapters' gradients are added to
   * @param wantsX false if x's gradient is not wanted
   * @return x's gradient, of its shape; null if it is not wanted
   */
  default @Nullable Tensor backward(
      Tensor x, Tensor dy, AdapterMix mix, AdapterGradients gradients, boolean wantsX) {
    throw new UnsupportedOperationException("these linears were opened to predict");
  }

  /** Frees what was made of adapters; what is used again is made again. No call may be running. */
  void releaseAdapters();

  /** Frees what these linears hold beside the model's weights. Idempotent. */
  @Override
  void close();

  /**
   * A linear's weight with a mix merged in: W + strength * scale * B A for each adapter that names
   * it.
   *
   * @param weight W, shape [outFeatures, inFeatures]
   * @param name the name adapters know it by
   * @return a new tensor, or {@code weight} itself if no adapter names it
   */
  static Tensor merged(Tensor weight, String name, AdapterMix mix) {
    Tensor merged = weight;
    for (AdapterMix.Part part : mix.parts()) {
      LoraPair pair = part.adapter().pair(name);
      if (pair != null) {
        Tensor delta = torch.matmul(pair.up(), pair.down()).to(merged);
        merged = merged.add(delta.mul_(new Scalar(part.strength() * pair.scale())));
      }
    }
    return merged;
  }
}
