package org.glance4j.model.text;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.text.EncoderLinears.Named;
import org.glance4j.weights.Weights;

/** One pre-norm block of Qwen2.5-VL's text model: causal attention, then a gated network. */
record Qwen25VlBlock(Norm norm1, SelfAttention attention, Norm norm2, FeedForward feedForward) {

  static Qwen25VlBlock load(
      Weights weights, EncoderLinears linears, String name, Qwen25VlConfig config) {
    int width = config.width();
    int inner = config.innerWidth();
    int shared = config.sharedHeads() * config.headWidth();
    String attention = name + ".self_attn.";
    String network = name + ".mlp.";
    return new Qwen25VlBlock(
        Norm.rms(weights, name + ".input_layernorm", width, config.epsilon(), linears.backend()),
        new SelfAttention(
            linears.take(
                width,
                Named.withBias(attention + "q_proj", width),
                Named.withBias(attention + "k_proj", shared),
                Named.withBias(attention + "v_proj", shared)),
            linears.take(width, Named.withoutBias(attention + "o_proj", width)),
            config.headWidth(),
            1 / Math.sqrt(config.headWidth())),
        Norm.rms(
            weights,
            name + ".post_attention_layernorm",
            width,
            config.epsilon(),
            linears.backend()),
        new FeedForward(
            linears.take(
                width,
                Named.withoutBias(network + "gate_proj", inner).then(config.activation()),
                Named.withoutBias(network + "up_proj", inner)),
            linears.take(inner, Named.withoutBias(network + "down_proj", width))));
  }

  /** Updates the residual stream {@code x} in place: float32 [batch, tokens, width]. */
  void update(Tensor x, Rotation positions) {
    x.add_(attention.causal(norm1.apply(x), positions));
    x.add_(feedForward.apply(norm2.apply(x)));
  }
}
