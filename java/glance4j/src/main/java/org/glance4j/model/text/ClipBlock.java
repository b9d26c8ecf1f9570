package org.glance4j.model.text;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.text.EncoderLinears.Named;
import org.glance4j.weights.Weights;

/** One pre-norm block of CLIP's text transformer: causal attention, then a feed-forward network. */
record ClipBlock(Norm norm1, SelfAttention attention, Norm norm2, FeedForward feedForward) {

  static ClipBlock load(Weights weights, EncoderLinears linears, String name, ClipConfig config) {
    int width = config.width();
    String attention = name + ".self_attn.";
    return new ClipBlock(
        Norm.layer(weights, name + ".layer_norm1", width, config.epsilon()),
        new SelfAttention(
            linears.take(
                width,
                Named.withBias(attention + "q_proj", width),
                Named.withBias(attention + "k_proj", width),
                Named.withBias(attention + "v_proj", width)),
            linears.take(width, Named.withBias(attention + "out_proj", width)),
            width / config.heads(),
            1 / Math.sqrt((double) width / config.heads())),
        Norm.layer(weights, name + ".layer_norm2", width, config.epsilon()),
        new FeedForward(
            linears.take(
                width,
                Named.withBias(name + ".mlp.fc1", config.innerWidth()).then(config.activation())),
            linears.take(config.innerWidth(), Named.withBias(name + ".mlp.fc2", width))));
  }

  /** Updates the residual stream {@code x} in place: float32 [batch, tokens, width]. */
  void update(Tensor x) {
    x.add_(attention.causal(norm1.apply(x)));
    x.add_(feedForward.apply(norm2.apply(x)));
  }
}
