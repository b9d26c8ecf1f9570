package org.glance4j.model.text;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Backend;
import org.glance4j.weights.Weights;

/** One pre-norm block of T5's encoder: attention, then a feed-forward network. */
record T5Block(Norm norm1, SelfAttention attention, Norm norm2, FeedForward feedForward) {

  static T5Block load(Weights weights, String name, T5Config config, Backend backend) {
    int width = config.width();
    int inner = config.heads() * config.headWidth();
    String attention = name + ".layer.0.SelfAttention.";
    return new T5Block(
        Norm.rms(weights, name + ".layer.0.layer_norm", width, config.epsilon(), backend),
        new SelfAttention(
            Linear.withoutBias(weights, attention + "q", width, inner),
            Linear.withoutBias(weights, attention + "k", width, inner),
            Linear.withoutBias(weights, attention + "v", width, inner),
            Linear.withoutBias(weights, attention + "o", inner, width),
            config.heads(),
            // T5's initialization makes up for the missing 1 / sqrt(headWidth).
            1),
        Norm.rms(weights, name + ".layer.1.layer_norm", width, config.epsilon(), backend),
        feedForward(weights, name + ".layer.1.DenseReluDense", config));
  }

  private static FeedForward feedForward(Weights weights, String name, T5Config config) {
    int width = config.width();
    int inner = config.innerWidth();
    boolean gated = config.gated();
    return new FeedForward(
        Linear.withoutBias(weights, name + (gated ? ".wi_0" : ".wi"), width, inner),
        gated ? Linear.withoutBias(weights, name + ".wi_1", width, inner) : null,
        config.activation(),
        Linear.withoutBias(weights, name + ".wo", inner, width));
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
