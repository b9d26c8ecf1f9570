package org.glance4j.model.text;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.weights.Weights;
import org.jspecify.annotations.Nullable;

/** {@code wo(activation(wi x))}, or gated: {@code wo(activation(wi_0 x) * wi_1 x)}. No biases. */
record T5FeedForward(Linear expand, @Nullable Linear gate, Activation activation, Linear contract) {

  static T5FeedForward load(Weights weights, String name, T5Config config) {
    int width = config.width();
    int inner = config.innerWidth();
    Linear contract = Linear.withoutBias(weights, name + ".wo", inner, width);
    if (!config.gated()) {
      Linear expand = Linear.withoutBias(weights, name + ".wi", width, inner);
      return new T5FeedForward(expand, null, config.activation(), contract);
    }
    return new T5FeedForward(
        Linear.withoutBias(weights, name + ".wi_0", width, inner),
        Linear.withoutBias(weights, name + ".wi_1", width, inner),
        config.activation(),
        contract);
  }

  Tensor apply(Tensor x) {
    Tensor inner = activation.apply(expand.apply(x));
    return contract.apply(gate == null ? inner : inner.mul_(gate.apply(x)));
  }
}
