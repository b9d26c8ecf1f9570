package org.glance4j.model.text;

import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * {@code contract(activation(expand x))}, or gated: {@code contract(activation(expand x) * gate
 * x)}.
 *
 * @param expand with its activation, and the gate if there is one
 */
record FeedForward(Linear expand, Linear contract) {

  Tensor apply(Tensor x) {
    List<Tensor> inner = expand.applyAll(x);
    Tensor activated = inner.get(0);
    return contract.apply(inner.size() == 1 ? activated : activated.mul_(inner.get(1)));
  }
}
