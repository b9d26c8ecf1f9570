package org.glance4j.model.flux;

import java.nio.file.Path;
import org.glance4j.ModelFormatException;
import org.glance4j.model.text.Tokenizer;

/**
 * A FLUX model's tokenizers. Thread-safe.
 *
 * @param clip from {@code tokenizer}
 * @param t5 from {@code tokenizer_2}
 */
record FluxTokenizers(Tokenizer clip, Tokenizer t5) implements AutoCloseable {
  /**
   * Reads both.
   *
   * @throws ModelFormatException if a file is missing or malformed
   */
  static FluxTokenizers open(Path modelFolder) {
    Tokenizer clip = Tokenizer.clip(modelFolder.resolve("tokenizer"));
    try {
      return new FluxTokenizers(clip, Tokenizer.t5(modelFolder.resolve("tokenizer_2")));
    } catch (RuntimeException | Error e) {
      clip.close();
      throw e;
    }
  }

  /** The text tokens to use where a request does not say: 512, or the tokenizer's limit below. */
  int textTokens() {
    return Math.min(FluxPromptEncoder.MAX_TEXT_TOKENS, t5.modelMaxLength());
  }

  @Override
  public void close() {
    clip.close();
    t5.close();
  }
}
