package org.glance4j.model;

import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraPair;

/**
 * {@link LoraLinears} in plain LibTorch calls. The weights lie below each other in one tensor, so
 * that the base product is a single matmul. The order of operations is PEFT's: the base product,
 * then for each adapter the down projection, the up projection, the multiplication by the scale,
 * and the sum. Gradients are recorded unless the caller turned them off.
 */
final class TorchLinears implements LoraLinears {
  private final Tensor weight;
  private final Tensor bias;
  private final List<Slice> slices;

  /**
   * @param weight all weights, shape [the outFeatures of all, inFeatures]; belongs to the caller
   * @param bias all biases
   * @param slices the linears stacked in weight, in order, covering its rows
   */
  TorchLinears(Tensor weight, Tensor bias, List<Slice> slices) {
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

  @Override
  public Tensor forward(Tensor x, AdapterChoice mix) {
    return activated(project(x, mix), slices);
  }

  /** Applies the slices' activations to {@code y} in place. */
  static Tensor activated(Tensor y, List<Slice> slices) {
    for (Slice slice : slices) {
      if (slice.activation() == Activation.GELU_TANH) {
        torch.gelu_(columns(y, slices, slice), "tanh");
      }
    }
    return y;
  }

  /** The mix itself, which these operations need. */
  static AdapterMix mix(AdapterChoice choice) {
    if (choice instanceof AdapterMix mix) {
      return mix;
    }
    throw new IllegalArgumentException(
        "adapters selected in device memory are for backend cuda; pass the mix itself");
  }

  @Override
  public Tensor project(Tensor x, AdapterChoice choice) {
    AdapterMix mix = mix(choice);
    Tensor y = torch.linear(x, weight, new TensorOptional(bias));
    for (AdapterMix.Part part : mix.parts()) {
      for (Slice slice : slices) {
        LoraPair pair = part.adapter().pair(slice.name());
        if (pair != null) {
          Tensor update = torch.linear(torch.linear(x, pair.down()), pair.up());
          columns(y, slices, slice).add_(update.mul_(new Scalar(part.strength() * pair.scale())));
        }
      }
    }
    return y;
  }

  @Override
  public Tensor forward(Tensor x, AdapterChoice mix, Tensor gate, Tensor residual) {
    return torch.addcmul(residual, gate, forward(x, mix));
  }

  private static Tensor columns(Tensor y, List<Slice> slices, Slice slice) {
    return slices.size() == 1 ? y : y.narrow(-1, slice.offset(), slice.outFeatures());
  }

  @Override
  public void releaseAdapters() {
    // Nothing is made of them.
  }

  @Override
  public void close() {
    // The tensors are the model's weights.
  }
}
