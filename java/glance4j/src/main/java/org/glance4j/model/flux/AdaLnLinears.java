package org.glance4j.model.flux;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.LoraLinear;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.Linears;
import org.glance4j.weights.Weights;

/**
 * The linears of all adaptive layer norms, as one matmul: they read the same vector. A double block
 * has two of 6 vectors (image, then text; shift, scale, gate before the attention, then the same
 * before the MLP), a single block one of 3 (shift, scale, gate), the last norm one of 2 (scale,
 * shift).
 */
final class AdaLnLinears {
  private final LoraLinear linear;
  private final long width;

  /** 1 for each vector that is a scale, else 0; shape [vectors, 1]. */
  private final Tensor ones;

  private AdaLnLinears(LoraLinear linear, long width, Tensor ones) {
    this.linear = linear;
    this.width = width;
    this.ones = ones;
  }

  static AdaLnLinears take(FluxConfig config, Linears linears, Weights weights, ScalarType dtype) {
    long width = config.width();
    List<Linears.Part> parts = new ArrayList<>();
    for (int i = 0; i < config.layers(); i++) {
      parts.add(new Linears.Part(DoubleBlock.name(i) + ".norm1.linear", 6 * width));
      parts.add(new Linears.Part(DoubleBlock.name(i) + ".norm1_context.linear", 6 * width));
    }
    for (int i = 0; i < config.singleLayers(); i++) {
      parts.add(new Linears.Part(SingleBlock.name(i) + ".norm.linear", 3 * width));
    }
    parts.add(new Linears.Part("norm_out.linear", 2 * width));
    int triples = 4 * config.layers() + config.singleLayers();
    LoraLinear linear = linears.stacked(width, parts);
    return new AdaLnLinears(linear, width, keepOnes(weights, triples, dtype));
  }

  private static Tensor keepOnes(Weights weights, int triples, ScalarType dtype) {
    try (PointerScope scope = new PointerScope()) {
      int lastScale = 3 * triples;
      Tensor ones = torch.zeros(new long[] {lastScale + 2, 1}, new TensorOptions(dtype));
      for (int scaleAt = 1; scaleAt < lastScale; scaleAt += 3) {
        ones.select(0, scaleAt).fill_(new Scalar(1));
      }
      ones.select(0, lastScale).fill_(new Scalar(1));
      return weights.keep(ones);
    }
  }

  /**
   * Computes all vectors.
   *
   * @param embedding shape [rows, width]
   */
  Modulation forward(Tensor embedding, AdapterMix mix) {
    Tensor vectors = linear.forward(torch.silu(embedding), mix).unflatten(-1, -1, width);
    return new Modulation(vectors.add_(ones));
  }
}
