package org.glance4j.model.text;

import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * {@code contract(activation(expand x))}, or gated: {@code contract(activation(expand x) * gate
 * x)}.
 */
record FeedForward(Linear expand, @Nullable Linear gate, Activation activation, Linear contract) {

  Tensor apply(Tensor x) {
    Tensor inner = activation.apply(expand.apply(x));
    return contract.apply(gate == null ? inner : inner.mul_(gate.apply(x)));
  }
}
