package org.glance4j.model.dit;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.kernel.ModulatedNorm;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.model.Linears;
import org.glance4j.model.LoraLinears;
import org.glance4j.model.Probe;
import org.glance4j.model.TensorScope;
import org.glance4j.weights.Weights;

/**
 * A double block (the MM-DiT block of arXiv 2403.03206): image and text have their own weights and
 * meet in one attention over all tokens, text first.
 */
final class DoubleBlock {
  /** How many vectors of the modulation a block reads. */
  static final int VECTORS = 12;

  /** One stream's weights. */
  record Stream(
      LoraLinears qkv, Heads.Norms norms, LoraLinears out, LoraLinears mlpUp, LoraLinears mlpDown) {
    JointAttention.Stream project(Tensor x, AdapterChoice mix) {
      return new JointAttention.Stream(qkv.forward(x, mix), norms);
    }
  }

  private final DoubleBlockNames names;
  private final String name;
  private final ModulatedNorm norm;
  private final JointAttention attention;
  private final Stream image;
  private final Stream text;

  private DoubleBlock(
      DoubleBlockNames names,
      String name,
      ModulatedNorm norm,
      JointAttention attention,
      Stream image,
      Stream text) {
    this.names = names;
    this.name = name;
    this.norm = norm;
    this.attention = attention;
    this.image = image;
    this.text = text;
  }

  static DoubleBlock take(
      DoubleBlockNames names, int index, Heads heads, Linears linears, Weights weights) {
    String name = DoubleBlockNames.block(index);
    String attn = name + ".attn.";
    String imageMlp = name + "." + names.imageMlp();
    String textMlp = name + "." + names.textMlp();
    long width = heads.width();
    Stream image =
        new Stream(
            linears.stacked(width, parts(width, attn + "to_q", attn + "to_k", attn + "to_v")),
            heads.takeNorms(weights, attn + "norm_q", attn + "norm_k"),
            linears.linear(attn + "to_out.0", width, width),
            linears.stacked(width, gelu(imageMlp + ".net.0.proj", 4 * width)),
            linears.linear(imageMlp + ".net.2", 4 * width, width));
    Stream text =
        new Stream(
            linears.stacked(
                width, parts(width, attn + "add_q_proj", attn + "add_k_proj", attn + "add_v_proj")),
            heads.takeNorms(weights, attn + "norm_added_q", attn + "norm_added_k"),
            linears.linear(attn + "to_add_out", width, width),
            linears.stacked(width, gelu(textMlp + ".net.0.proj", 4 * width)),
            linears.linear(textMlp + ".net.2", 4 * width, width));
    return new DoubleBlock(
        names,
        name,
        ModulatedNorm.on(linears.backend()),
        JointAttention.on(linears.backend(), heads),
        image,
        text);
  }

  private static List<Linears.Part> parts(long width, String q, String k, String v) {
    return List.of(
        new Linears.Part(q, width), new Linears.Part(k, width), new Linears.Part(v, width));
  }

  private static List<Linears.Part> gelu(String name, long width) {
    return List.of(new Linears.Part(name, width, Activation.GELU_TANH));
  }

  String name() {
    return name;
  }

  ModulatedNorm norm() {
    return norm;
  }

  JointAttention attention() {
    return attention;
  }

  Stream text() {
    return text;
  }

  Stream image() {
    return image;
  }

  /** Reads its vectors from {@code modulation} and returns the streams after this block. */
  Streams forward(Streams x, Modulation.Reader modulation, Pass pass) {
    AdaLn imageAttn = modulation.nextAdaLn();
    AdaLn imageMlp = modulation.nextAdaLn();
    AdaLn textAttn = modulation.nextAdaLn();
    AdaLn textMlp = modulation.nextAdaLn();
    try (TensorScope scope = new TensorScope()) {
      Tensor imageNormed = imageAttn.modulate(norm, x.image());
      Tensor textNormed = textAttn.modulate(norm, x.text());
      see(pass.probe(), names.imageModulation(), imageNormed, imageAttn, imageMlp);
      see(pass.probe(), names.textModulation(), textNormed, textAttn, textMlp);

      Streams attended = attention(new Streams(textNormed, imageNormed), pass);
      Tensor imageState =
          image.out.forward(attended.image(), pass.mix(), imageAttn.gate(), x.image());
      Tensor textState = text.out.forward(attended.text(), pass.mix(), textAttn.gate(), x.text());

      Tensor imageHidden = image.mlpUp.forward(imageMlp.modulate(norm, imageState), pass.mix());
      Tensor textHidden = text.mlpUp.forward(textMlp.modulate(norm, textState), pass.mix());
      Streams result =
          new Streams(
              scope.release(
                  text.mlpDown.forward(textHidden, pass.mix(), textMlp.gate(), textState)),
              scope.release(
                  image.mlpDown.forward(imageHidden, pass.mix(), imageMlp.gate(), imageState)));
      pass.probe()
          .see(name, names.imageMlp(), () -> image.mlpDown.forward(imageHidden, pass.mix()));
      pass.probe().see(name, names.textMlp(), () -> text.mlpDown.forward(textHidden, pass.mix()));
      pass.probe().see(name, "out0", result::text);
      pass.probe().see(name, "out1", result::image);
      return result;
    }
  }

  private Streams attention(Streams x, Pass pass) {
    JointAttention.Stream textQkv = text.project(x.text(), pass.mix());
    JointAttention.Stream imageQkv = image.project(x.image(), pass.mix());
    pass.probe().see(name, "attn.to_q", () -> query(imageQkv));
    pass.probe().see(name, "attn.norm_q", () -> normed(imageQkv, 0));
    pass.probe().see(name, "attn.norm_added_k", () -> normed(textQkv, 1));

    Tensor attended = attention.attend(pass, textQkv, imageQkv);
    long textTokens = x.text().size(1);
    Streams result =
        new Streams(
            attention.rows(attended, 0, textTokens),
            attention.rows(attended, textTokens, x.image().size(1)));
    pass.probe().see(name, "attn.out0", () -> image.out.forward(result.image(), pass.mix()));
    pass.probe().see(name, "attn.out1", () -> text.out.forward(result.text(), pass.mix()));
    return result;
  }

  private Tensor query(JointAttention.Stream stream) {
    return stream.projected().narrow(-1, 0, attention.heads().width());
  }

  /** The normed queries or keys before their rotation. */
  private Tensor normed(JointAttention.Stream stream, long which) {
    Heads heads = attention.heads();
    return heads
        .rmsNorm(heads.split(stream.projected()).narrow(2, 0, 2))
        .mul_(stream.norms().both())
        .select(2, which);
  }

  /** Shows one stream's first norm and its vectors, one by one and as the linear gives them. */
  private void see(Probe probe, String linear, Tensor normed, AdaLn attn, AdaLn mlp) {
    String norm = linear.substring(0, linear.lastIndexOf('.'));
    probe.see(name, norm, () -> torch.cat(vectors(attn, mlp), 2).squeeze(1));
    probe.see(name, norm + ".out0", () -> normed);
    probe.see(name, norm + ".out1", () -> attn.gate().squeeze(1));
    probe.see(name, norm + ".out2", () -> mlp.shift().squeeze(1));
    probe.see(name, norm + ".out3", () -> mlp.scale().squeeze(1));
    probe.see(name, norm + ".out4", () -> mlp.gate().squeeze(1));
  }

  private static TensorVector vectors(AdaLn attn, AdaLn mlp) {
    return new TensorVector(
        attn.shift(), attn.scale(), attn.gate(), mlp.shift(), mlp.scale(), mlp.gate());
  }
}
