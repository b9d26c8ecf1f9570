package org.glance4j.kernel;

import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraPair;

/**
 * The LoRA linear in plain LibTorch calls:
 *
 * <pre>y = x W^T + b + sum over the mix of strength * scale * (x A^T) B^T</pre>
 *
 * <p>Linears that read the same input (q, k and v, say) are stacked into one: their weights lie
 * below each other in W, so that the base product is a single matmul, and each {@link Slice} of the
 * output columns still finds its own A and B by name.
 *
 * <p>The order of operations is PEFT's: the base product, then for each adapter the down
 * projection, the up projection, the multiplication by the scale, and the sum. The merged form is W
 * + strength * scale * B A.
 *
 * <p>Stateless: the mix is an argument of every call, so a phase change moves no weights.
 * Thread-safe. The tensors belong to whoever made them.
 */
public final class LoraLinear {
  /**
   * One linear's rows of the stacked weight, which are its columns of the output.
   *
   * @param name the name adapters know it by
   * @param offset its first row
   * @param outFeatures how many rows it has
   */
  public record Slice(String name, long offset, long outFeatures) {}

  private final Tensor weight;
  private final Tensor bias;
  private final List<Slice> slices;

  /**
   * @param weight W, shape [outFeatures, inFeatures]
   * @param bias b, shape [outFeatures]
   * @param slices the linears stacked in W, in order, covering its rows
   */
  public LoraLinear(Tensor weight, Tensor bias, List<Slice> slices) {
    long rows = slices.stream().mapToLong(Slice::outFeatures).sum();
    if (weight.dim() != 2 || weight.size(0) != rows || bias.numel() != rows) {
      throw new IllegalArgumentException(
          "W with %d rows and b with %d values do not match slices of %d rows in all: %s"
              .formatted(weight.size(0), bias.numel(), rows, slices));
    }
    this.weight = weight;
    this.bias = bias;
    this.slices = List.copyOf(slices);
  }

  /**
   * Applies the linear.
   *
   * @param x shape [..., inFeatures]
   * @param mix the adapters to apply; linears that an adapter does not name stay as they are
   * @return shape [..., outFeatures]
   */
  public Tensor forward(Tensor x, AdapterMix mix) {
    Tensor y = torch.linear(x, weight, new TensorOptional(bias));
    for (AdapterMix.Part part : mix.parts()) {
      for (Slice slice : slices) {
        LoraPair pair = part.adapter().pair(slice.name());
        if (pair != null) {
          Tensor update = torch.linear(torch.linear(x, pair.down()), pair.up());
          columns(y, slice).add_(update.mul_(new Scalar(part.strength() * pair.scale())));
        }
      }
    }
    return y;
  }

  /**
   * The weight with the mix merged in, so that {@code x mergedWeight^T + b} is {@link #forward}.
   *
   * @return a new tensor, shape [outFeatures, inFeatures]
   */
  public Tensor mergedWeight(AdapterMix mix) {
    Tensor merged = weight.clone();
    for (AdapterMix.Part part : mix.parts()) {
      for (Slice slice : slices) {
        LoraPair pair = part.adapter().pair(slice.name());
        if (pair != null) {
          Tensor delta = torch.matmul(pair.up(), pair.down());
          merged
              .narrow(0, slice.offset(), slice.outFeatures())
              .add_(delta.mul_(new Scalar(part.strength() * pair.scale())));
        }
      }
    }
    return merged;
  }

  private Tensor columns(Tensor y, Slice slice) {
    return slices.size() == 1 ? y : y.narrow(-1, slice.offset(), slice.outFeatures());
  }
}
