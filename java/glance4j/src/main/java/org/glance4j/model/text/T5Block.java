package org.glance4j.model.text;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.text.EncoderLinears.Named;
import org.glance4j.weights.Weights;

/** One pre-norm block of T5's encoder: attention, then a feed-forward network. */
record T5Block(Norm norm1, SelfAttention attention, Norm norm2, FeedForward feedForward) {

  static T5Block load(Weights weights, EncoderLinears linears, String name, T5Config config) {
    int width = config.width();
    int inner = config.heads() * config.headWidth();
    String attention = name + ".layer.0.SelfAttention.";
    return new T5Block(
        Norm.rms(weights, name + ".layer.0.layer_norm", width, config.epsilon(), linears.backend()),
        new SelfAttention(
            linears.take(
                width,
                Named.withoutBias(attention + "q", inner),
                Named.withoutBias(attention + "k", inner),
                Named.withoutBias(attention + "v", inner)),
            linears.take(inner, Named.withoutBias(attention + "o", width)),
            config.headWidth(),
            // T5's initialization makes up for the missing 1 / sqrt(headWidth).
            1),
        Norm.rms(weights, name + ".layer.1.layer_norm", width, config.epsilon(), linears.backend()),
        feedForward(linears, name + ".layer.1.DenseReluDense", config));
  }

  private static FeedForward feedForward(EncoderLinears linears, String name, T5Config config) {
    int width = config.width();
    int inner = config.innerWidth();
    Named expand =
        Named.withoutBias(name + (config.gated() ? ".wi_0" : ".wi"), inner)
            .then(config.activation());
    return new FeedForward(
        config.gated()
            ? linears.take(width, expand, Named.withoutBias(name + ".wi_1", inner))
            : linears.take(width, expand),
        linears.take(inner, Named.withoutBias(name + ".wo", width)));
  }

  /**
   * Updates the residual stream {@code x} in place: float32 [batch, tokens, width].
   *
   * @param bias of the attention scores: [1, heads, tokens, tokens]
   */
  void update(Tensor x, Tensor bias) {
    x.add_(attention.biased(norm1.apply(x), bias));
    x.add_(feedForward.apply(norm2.apply(x)));
  }
}
