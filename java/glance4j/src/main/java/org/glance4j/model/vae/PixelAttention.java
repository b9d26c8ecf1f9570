package org.glance4j.model.vae;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
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
  private final GroupNorm norm;
  private final LoraLinears qkv;
  private final LoraLinears out;

  private PixelAttention(GroupNorm norm, LoraLinears qkv, LoraLinears out) {
    this.norm = norm;
    this.qkv = qkv;
    this.out = out;
  }

  static PixelAttention take(Weights weights, String name, int channels, int groups) {
    Linears linears = new Linears(weights, AdapterMix.NONE, Backend.TORCH);
    // Files saved before diffusers 0.18 have the second set of names.
    boolean current = weights.contains(name + ".to_q.weight");
    List<String> names =
        current
            ? List.of(".to_q", ".to_k", ".to_v", ".to_out.0")
            : List.of(".query", ".key", ".value", ".proj_attn");
    List<Linears.Part> parts =
        names.subList(0, 3).stream().map(part -> new Linears.Part(name + part, channels)).toList();
    return new PixelAttention(
        GroupNorm.take(weights, name + ".group_norm", channels, groups),
        linears.stacked(channels, parts),
        linears.linear(name + names.get(3), channels, channels));
  }

  @Override
  public Tensor forward(Tensor x, Probe probe) {
    try (TensorScope scope = new TensorScope()) {
      Tensor pixels = norm.norm(x).permute(0, 2, 3, 1).flatten(1, 2);
      // [batch, 1 head, pixels, 3, channels]
      Tensor projected =
          qkv.forward(pixels, AdapterMix.NONE).unflatten(-1, 3, x.size(1)).unsqueeze(1);
      Tensor attended =
          Attention.scaledDotProduct(
              projected.select(3, 0), projected.select(3, 1), projected.select(3, 2));
      Tensor update = out.forward(attended.squeeze(1), AdapterMix.NONE);
      Tensor image = update.unflatten(1, x.size(2), x.size(3)).permute(0, 3, 1, 2);
      return scope.release(x.add(image));
    }
  }
}
