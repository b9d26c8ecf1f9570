package org.glance4j.model.flux;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.kernel.ModulatedNorm;
import org.glance4j.model.Linears;
import org.glance4j.model.LoraLinears;
import org.glance4j.model.Probe;
import org.glance4j.model.TensorScope;
import org.glance4j.model.dit.AdaLn;
import org.glance4j.model.dit.Heads;
import org.glance4j.model.dit.JointAttention;
import org.glance4j.model.dit.Modulation;
import org.glance4j.model.dit.Pass;
import org.glance4j.model.dit.Recorded;
import org.glance4j.model.dit.RecordedAttention;
import org.glance4j.model.dit.RecordedVectors;
import org.glance4j.model.dit.Recording;
import org.glance4j.weights.Weights;

/**
 * A single block (the parallel block of arXiv 2302.05442): one set of weights for all tokens, and
 * attention and MLP side by side, so that one matmul leads in and one leads out.
 */
final class SingleBlock {
  /** How many vectors of the modulation a block reads. */
  static final int VECTORS = 3;

  private final String name;
  private final ModulatedNorm norm;
  private final JointAttention attention;

  /** q, k, v and the MLP's hidden layer. */
  private final LoraLinears in;

  private final Heads.Norms norms;
  private final LoraLinears out;

  private SingleBlock(
      String name,
      ModulatedNorm norm,
      JointAttention attention,
      LoraLinears in,
      Heads.Norms norms,
      LoraLinears out) {
    this.name = name;
    this.norm = norm;
    this.attention = attention;
    this.in = in;
    this.norms = norms;
    this.out = out;
  }

  private static String name(int index) {
    return "single_transformer_blocks." + index;
  }

  /** The linear that gives a block's vectors. */
  static Linears.Part modulation(int index, long width) {
    return new Linears.Part(name(index) + ".norm.linear", VECTORS * width);
  }

  static SingleBlock take(int index, Heads heads, Linears linears, Weights weights) {
    String name = name(index);
    String attn = name + ".attn.";
    long width = heads.width();
    LoraLinears in =
        linears.stacked(
            width,
            List.of(
                new Linears.Part(attn + "to_q", width),
                new Linears.Part(attn + "to_k", width),
                new Linears.Part(attn + "to_v", width),
                new Linears.Part(name + ".proj_mlp", 4 * width, Activation.GELU_TANH)));
    Heads.Norms norms = heads.takeNorms(weights, attn + "norm_q", attn + "norm_k");
    LoraLinears out = linears.linear(name + ".proj_out", 5 * width, width);
    return new SingleBlock(
        name,
        ModulatedNorm.on(linears.backend()),
        JointAttention.on(linears.backend(), heads),
        in,
        norms,
        out);
  }

  /**
   * Reads its vectors from {@code modulation} and returns the hidden state after this block.
   *
   * @param x text tokens, then image tokens; shape [batch, tokens, width]
   */
  Tensor forward(Tensor x, Modulation.Reader modulation, Pass pass) {
    AdaLn adaLn = modulation.nextAdaLn();
    try (TensorScope scope = new TensorScope()) {
      Tensor normed = adaLn.modulate(norm, x);
      Tensor projected = attention.projectBeside(in, normed, pass.mix());
      Tensor both = attention.attendBeside(pass, new JointAttention.Stream(projected, norms));
      Tensor result = scope.release(out.forward(both, pass.mix(), adaLn.gate(), x));

      Probe probe = pass.probe();
      probe.see(name, "norm.out0", () -> normed);
      probe.see(name, "norm.out1", () -> adaLn.gate().squeeze(1));
      probe.see(name, "proj_mlp", () -> hidden(in.project(normed, pass.mix())));
      probe.see(name, "attn", () -> both.narrow(2, 0, attention.heads().width()));
      probe.see(name, "proj_out", () -> out.forward(both, pass.mix()));
      probe.see(name, "out", () -> result);
      return result;
    }
  }

  /**
   * As {@link #forward}, with its backward pass.
   *
   * @param x kept by the recording
   */
  Recorded<Tensor, Tensor> record(Tensor x, RecordedVectors vectors, Recording recording) {
    RecordedVectors.Layer layer = vectors.nextAdaLn(recording);
    long width = attention.heads().width();
    try (TensorScope scope = new TensorScope()) {
      Tensor normed = recording.keep(layer.vectors().modulate(norm, x));
      Tensor projected = recording.keep(in.project(normed, recording.mix()));
      RecordedAttention attended =
          RecordedAttention.run(attention, recording, new JointAttention.Stream(projected, norms));
      Tensor hidden = recording.keep(hidden(projected));
      Tensor both =
          recording.keep(
              torch.cat(new TensorVector(attended.value(), torch.gelu(hidden, "tanh")), 2));
      Tensor y = out.project(both, recording.mix());
      Tensor result = scope.release(layer.gated(x, y, recording));
      return new Recorded<>(
          result,
          recording.trains(name, vectors),
          (gradient, wantsX) -> {
            Tensor dBoth = recording.backward(out, both, layer.gatedBackward(gradient, y));
            Tensor dHidden =
                torch.gelu_backward(dBoth.narrow(2, width, hidden.size(2)), hidden, "tanh");
            Tensor dAttended = dBoth.narrow(2, 0, width);
            Tensor dProjected =
                torch.cat(new TensorVector(attended.backward(dAttended), dHidden), 2);
            boolean wantsNormed = wantsX || layer.gradients() != null;
            Tensor dNormed = recording.backward(in, normed, dProjected, wantsNormed);
            Tensor dx = dNormed == null ? null : layer.modulateBackward(x, dNormed);
            return dx == null || !wantsX ? null : dx.add(gradient);
          });
    }
  }

  private Tensor hidden(Tensor projected) {
    long qkv = 3 * attention.heads().width();
    return projected.narrow(2, qkv, projected.size(2) - qkv);
  }
}
