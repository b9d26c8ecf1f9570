package org.glance4j.weights;

import static org.glance4j.reference.TensorAssert.assertClose;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.Test;

class SafetensorsFileTest {
  @Test
  void readsValues() {
    try (Goldens goldens = Reference.goldens("flux_transformer")) {
      Tensor expected = goldens.get("latents");
      assertClose("latents", expected, goldens.get("latents_unpacked"), 0);
    }
  }
}
