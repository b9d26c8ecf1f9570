package org.glance4j.model.vae;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Probe;

/**
 * Layers one after another. Each state is freed as soon as the next one is there: at high
 * resolution a single one takes a gigabyte.
 *
 * @param name the reference implementation's name
 */
record Sequence(String name, List<Layer> layers) implements Layer {
  Sequence {
    layers = List.copyOf(layers);
  }

  @Override
  public Tensor forward(Tensor x, Probe probe) {
    Tensor state = layers.get(0).forward(x, probe);
    for (Layer layer : layers.subList(1, layers.size())) {
      Tensor next = layer.forward(state, probe);
      state.close();
      state = next;
    }
    Tensor result = state;
    probe.see(name, "", () -> result);
    return result;
  }
}
