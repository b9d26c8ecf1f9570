package org.glance4j.model.vae;

import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Probe;

/** Every value that a decoder shows, by the reference's name. */
final class DecoderValues {
  private DecoderValues() {}

  /** Those of {@code vae} decoding {@code latents}, with the result as {@code out}. */
  static Map<String, Tensor> of(Vae vae, Tensor latents) {
    Map<String, Tensor> seen = new LinkedHashMap<>();
    Probe recorder =
        (module, output, value) -> seen.put(module, value.get().clone().retainReference());
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      seen.put("out", vae.decode(latents, recorder).retainReference());
    }
    return seen;
  }
}
