package org.glance4j.model.vae;

import java.util.List;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.Backend;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.Attention;
import org.glance4j.model.Linears;
import org.glance4j.model.LoraLinears;
import org.glance4j.model.Probe;
import org.glance4j.model.TensorScope;
import org.glance4j.weights.Weights;

/** One-headed self-attention over all pixels, with a residual. */
final class PixelAttention implements Layer {
  private final Norm norm;
  private final UnaryOperator<Tensor> qkv;
  private final UnaryOperator<Tensor> out;

  /**
   * @param qkv a linear of the channels, [batch, pixels, channels] to three times the channels:
   *     queries, keys, values
   * @param out a linear of the channels
   */
  private PixelAttention(Norm norm, UnaryOperator<Tensor> qkv, UnaryOperator<Tensor> out) {
    this.norm = norm;
    this.qkv = qkv;
    this.out = out;
  }

  /** One with a linear for each of queries, keys and values. */
  static PixelAttention take(Weights weights, String name, Norm norm, int channels) {
    Linears linears = new Linears(weights, AdapterMix.NONE, Backend.TORCH);
    // Files saved before diffusers 0.18 have the second set of names.
    boolean current = weights.contains(name + ".to_q.weight");
    List<String> names =
        current
            ? List.of(".to_q", ".to_k", ".to_v", ".to_out.0")
            : List.of(".query", ".key", ".value", ".proj_attn");
    List<Linears.Part> parts =
        names.subList(0, 3).stream().map(part -> new Linears.Part(name + part, channels)).toList();
    LoraLinears qkv = linears.stacked(channels, parts);
    LoraLinears out = linears.linear(name + names.get(3), channels, channels);
    return new PixelAttention(
        norm, x -> qkv.forward(x, AdapterMix.NONE), x -> out.forward(x, AdapterMix.NONE));
  }

  /** One whose linears are 1 x 1 convolutions, a single one for queries, keys and values. */
  static PixelAttention takeConvs(Weights weights, String name, Norm norm, int channels) {
    return new PixelAttention(
        norm,
        pixelwise(weights, name + ".to_qkv", channels, 3 * channels),
        pixelwise(weights, name + ".proj", channels, channels));
  }

  private static UnaryOperator<Tensor> pixelwise(Weights weights, String name, int in, int out) {
    Tensor weight = weights.take(name + ".weight", out, in, 1, 1);
    Tensor bias = weights.take(name + ".bias", out);
    return x -> torch.linear(x, weight.view(out, in), new TensorOptional(bias));
  }

  @Override
  public Tensor forward(Tensor x, Probe probe) {
    try (TensorScope scope = new TensorScope()) {
      Tensor pixels = norm.norm(x).permute(0, 2, 3, 1).flatten(1, 2);
      // [batch, 1 head, pixels, 3, channels]
      Tensor projected = qkv.apply(pixels).unflatten(-1, 3, x.size(1)).unsqueeze(1);
      Tensor attended =
          Attention.scaledDotProduct(
              projected.select(3, 0), projected.select(3, 1), projected.select(3, 2));
      Tensor update = out.apply(attended.squeeze(1));
      Tensor image = update.unflatten(1, x.size(2), x.size(3)).permute(0, 3, 1, 2);
      return scope.release(x.add(image));
    }
  }
}
