package org.glance4j.model.flux;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.LoraLinear;
import org.glance4j.model.Linears;
import org.glance4j.model.Probe;
import org.glance4j.model.TensorScope;
import org.glance4j.weights.Weights;

/**
 * A single block (the parallel block of arXiv 2302.05442): one set of weights for all tokens, and
 * attention and MLP side by side, so that one matmul leads in and one leads out.
 */
final class SingleBlock {
  private final String name;
  private final Heads heads;
  private final long width;

  /** q, k, v and the MLP's hidden layer. */
  private final LoraLinear in;

  private final Tensor norms;
  private final LoraLinear out;

  private SingleBlock(
      String name, Heads heads, long width, LoraLinear in, Tensor norms, LoraLinear out) {
    this.name = name;
    this.heads = heads;
    this.width = width;
    this.in = in;
    this.norms = norms;
    this.out = out;
  }

  static String name(int index) {
    return "single_transformer_blocks." + index;
  }

  static SingleBlock take(int index, FluxConfig config, Linears linears, Weights weights) {
    String name = name(index);
    String attn = name + ".attn.";
    Heads heads = new Heads(config.heads(), config.headDim());
    long width = config.width();
    LoraLinear in =
        linears.stacked(
            width,
            List.of(
                new Linears.Part(attn + "to_q", width),
                new Linears.Part(attn + "to_k", width),
                new Linears.Part(attn + "to_v", width),
                new Linears.Part(name + ".proj_mlp", 4 * width)));
    Tensor norms = heads.takeNorms(weights, attn + "norm_q", attn + "norm_k");
    LoraLinear out = linears.linear(name + ".proj_out", 5 * width, width);
    return new SingleBlock(name, heads, width, in, norms, out);
  }

  /**
   * Reads its vectors from {@code modulation} and returns the hidden state after this block.
   *
   * @param x text tokens, then image tokens; shape [batch, tokens, width]
   */
  Tensor forward(Tensor x, Modulation.Reader modulation, Pass pass) {
    AdaLn norm = modulation.nextAdaLn();
    try (TensorScope scope = new TensorScope()) {
      Tensor normed = norm.modulate(x);
      Tensor projected = in.forward(normed, pass.mix());
      Tensor hidden = projected.narrow(2, 3 * width, 4 * width);
      Tensor qkv = heads.split(projected.narrow(2, 0, 3 * width));
      Tensor qk = heads.rmsNorm(qkv).mul_(norms);
      Tensor attended = heads.attend(qk, qkv, pass.rope());
      Tensor both = torch.cat(new TensorVector(attended, torch.gelu(hidden, "tanh")), 2);
      Tensor update = out.forward(both, pass.mix());
      Tensor result = scope.release(norm.residual(x, update));

      Probe probe = pass.probe();
      probe.see(name, "norm.out0", () -> normed);
      probe.see(name, "norm.out1", () -> norm.gate().squeeze(1));
      probe.see(name, "proj_mlp", () -> hidden);
      probe.see(name, "attn", () -> attended);
      probe.see(name, "proj_out", () -> update);
      probe.see(name, "out", () -> result);
      return result;
    }
  }
}
