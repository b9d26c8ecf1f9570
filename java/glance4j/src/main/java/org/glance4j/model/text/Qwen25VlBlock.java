package org.glance4j.model.text;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Backend;
import org.glance4j.weights.Weights;

/** One pre-norm block of Qwen2.5-VL's text model: causal attention, then a gated network. */
record Qwen25VlBlock(Norm norm1, SelfAttention attention, Norm norm2, FeedForward feedForward) {

  static Qwen25VlBlock load(Weights weights, String name, Qwen25VlConfig config, Backend backend) {
    int width = config.width();
    int inner = config.innerWidth();
    int shared = config.sharedHeads() * config.headWidth();
    String attention = name + ".self_attn.";
    String network = name + ".mlp.";
    return new Qwen25VlBlock(
        Norm.rms(weights, name + ".input_layernorm", width, config.epsilon(), backend),
        new SelfAttention(
            Linear.withBias(weights, attention + "q_proj", width, width),
            Linear.withBias(weights, attention + "k_proj", width, shared),
            Linear.withBias(weights, attention + "v_proj", width, shared),
            Linear.withoutBias(weights, attention + "o_proj", width, width),
            config.heads(),
            1 / Math.sqrt(config.headWidth())),
        Norm.rms(weights, name + ".post_attention_layernorm", width, config.epsilon(), backend),
        new FeedForward(
            Linear.withoutBias(weights, network + "gate_proj", width, inner),
            Linear.withoutBias(weights, network + "up_proj", width, inner),
            config.activation(),
            Linear.withoutBias(weights, network + "down_proj", inner, width)));
  }

  /** Updates the residual stream {@code x} in place: float32 [batch, tokens, width]. */
  void update(Tensor x, Rotation positions) {
    x.add_(attention.causal(norm1.apply(x), positions));
    x.add_(feedForward.apply(norm2.apply(x)));
  }
}
