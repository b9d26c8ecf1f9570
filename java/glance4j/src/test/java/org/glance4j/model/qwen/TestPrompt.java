package org.glance4j.model.qwen;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Conditioning;

/** Encoded prompts whose vectors a test gives. */
public final class TestPrompt {
  private TestPrompt() {}

  /** As the encoder would have made it of some prompt. */
  public static Conditioning of(Tensor embeds) {
    return new QwenConditioning(embeds, null);
  }
}
