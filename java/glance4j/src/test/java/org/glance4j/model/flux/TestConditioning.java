package org.glance4j.model.flux;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Conditioning;

/** Encoded prompts whose vectors a test gives. */
public final class TestConditioning {
  private TestConditioning() {}

  /** As an encoder would have made it of some prompt. */
  public static Conditioning of(Tensor embeds, Tensor pooled) {
    return new FluxConditioning(embeds, pooled, null);
  }
}
