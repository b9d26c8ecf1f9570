package org.glance4j.model.flux;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.LoraLinear;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.Linears;
import org.glance4j.model.Probe;
import org.glance4j.model.TensorScope;
import org.glance4j.weights.Weights;

/**
 * A double block (the MM-DiT block of arXiv 2403.03206): image and text have their own weights and
 * meet in one attention over all tokens, text first.
 */
final class DoubleBlock {
  /** The hidden states: text [batch, textTokens, width], image [batch, imageTokens, width]. */
  record Streams(Tensor text, Tensor image) {}

  /** One stream's weights. */
  private record Stream(
      LoraLinear qkv, Tensor norms, LoraLinear out, LoraLinear mlpUp, LoraLinear mlpDown) {
    Tensor mlp(Tensor x, AdapterMix mix) {
      return mlpDown.forward(torch.gelu(mlpUp.forward(x, mix), "tanh"), mix);
    }
  }

  private final String name;
  private final Heads heads;
  private final Stream image;
  private final Stream text;

  private DoubleBlock(String name, Heads heads, Stream image, Stream text) {
    this.name = name;
    this.heads = heads;
    this.image = image;
    this.text = text;
  }

  static String name(int index) {
    return "transformer_blocks." + index;
  }

  static DoubleBlock take(int index, FluxConfig config, Linears linears, Weights weights) {
    String name = name(index);
    String attn = name + ".attn.";
    Heads heads = new Heads(config.heads(), config.headDim());
    long width = config.width();
    Stream image =
        new Stream(
            linears.stacked(width, parts(width, attn + "to_q", attn + "to_k", attn + "to_v")),
            heads.takeNorms(weights, attn + "norm_q", attn + "norm_k"),
            linears.linear(attn + "to_out.0", width, width),
            linears.linear(name + ".ff.net.0.proj", width, 4 * width),
            linears.linear(name + ".ff.net.2", 4 * width, width));
    Stream text =
        new Stream(
            linears.stacked(
                width, parts(width, attn + "add_q_proj", attn + "add_k_proj", attn + "add_v_proj")),
            heads.takeNorms(weights, attn + "norm_added_q", attn + "norm_added_k"),
            linears.linear(attn + "to_add_out", width, width),
            linears.linear(name + ".ff_context.net.0.proj", width, 4 * width),
            linears.linear(name + ".ff_context.net.2", 4 * width, width));
    return new DoubleBlock(name, heads, image, text);
  }

  private static List<Linears.Part> parts(long width, String q, String k, String v) {
    return List.of(
        new Linears.Part(q, width), new Linears.Part(k, width), new Linears.Part(v, width));
  }

  /** Reads its vectors from {@code modulation} and returns the streams after this block. */
  Streams forward(Streams x, Modulation.Reader modulation, Pass pass) {
    AdaLn imageAttn = modulation.nextAdaLn();
    AdaLn imageMlp = modulation.nextAdaLn();
    AdaLn textAttn = modulation.nextAdaLn();
    AdaLn textMlp = modulation.nextAdaLn();
    try (TensorScope scope = new TensorScope()) {
      Tensor imageNormed = imageAttn.modulate(x.image());
      Tensor textNormed = textAttn.modulate(x.text());
      see(pass.probe(), "norm1", imageNormed, imageAttn, imageMlp);
      see(pass.probe(), "norm1_context", textNormed, textAttn, textMlp);

      Streams attended = attention(new Streams(textNormed, imageNormed), pass);
      Tensor imageState = imageAttn.residual(x.image(), attended.image());
      Tensor textState = textAttn.residual(x.text(), attended.text());

      Tensor imageUpdate = image.mlp(imageMlp.modulate(imageState), pass.mix());
      Tensor textUpdate = text.mlp(textMlp.modulate(textState), pass.mix());
      Streams result =
          new Streams(
              scope.release(textMlp.residual(textState, textUpdate)),
              scope.release(imageMlp.residual(imageState, imageUpdate)));
      pass.probe().see(name, "ff", () -> imageUpdate);
      pass.probe().see(name, "ff_context", () -> textUpdate);
      pass.probe().see(name, "out0", result::text);
      pass.probe().see(name, "out1", result::image);
      return result;
    }
  }

  private Streams attention(Streams x, Pass pass) {
    long textTokens = x.text().size(1);
    long imageTokens = x.image().size(1);
    Tensor textQkv = text.qkv.forward(x.text(), pass.mix());
    Tensor imageQkv = image.qkv.forward(x.image(), pass.mix());
    Tensor qkv = heads.split(torch.cat(new TensorVector(textQkv, imageQkv), 1));
    Tensor qk = heads.rmsNorm(qkv);
    Tensor textQk = qk.narrow(1, 0, textTokens).mul_(text.norms);
    Tensor imageQk = qk.narrow(1, textTokens, imageTokens).mul_(image.norms);
    pass.probe().see(name, "attn.to_q", () -> imageQkv.narrow(-1, 0, imageQkv.size(-1) / 3));
    pass.probe().see(name, "attn.norm_q", () -> imageQk.select(2, 0));
    pass.probe().see(name, "attn.norm_added_k", () -> textQk.select(2, 1));

    Tensor attended = heads.attend(qk, qkv, pass.rope());
    Tensor textPart = attended.narrow(1, 0, textTokens).contiguous();
    Tensor imagePart = attended.narrow(1, textTokens, imageTokens).contiguous();
    Streams result =
        new Streams(
            text.out.forward(textPart, pass.mix()), image.out.forward(imagePart, pass.mix()));
    pass.probe().see(name, "attn.out0", result::image);
    pass.probe().see(name, "attn.out1", result::text);
    return result;
  }

  private void see(Probe probe, String norm, Tensor normed, AdaLn attn, AdaLn mlp) {
    probe.see(name, norm + ".out0", () -> normed);
    probe.see(name, norm + ".out1", () -> attn.gate().squeeze(1));
    probe.see(name, norm + ".out2", () -> mlp.shift().squeeze(1));
    probe.see(name, norm + ".out3", () -> mlp.rawScale().squeeze(1));
    probe.see(name, norm + ".out4", () -> mlp.gate().squeeze(1));
  }
}
