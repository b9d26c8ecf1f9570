package org.glance4j.model.qwen;

import org.jspecify.annotations.Nullable;

/**
 * How long a prompt is, with the five tokens that the template puts behind it.
 *
 * @param total tokens of the whole prompt
 * @param kept how many of them are encoded: the rows of {@link PromptEmbedding#embeds} that are the
 *     prompt's
 */
public record PromptTokens(int total, int kept) {
  /** What is not encoded of the prompt, in words; null if all of it is. */
  public @Nullable String truncation() {
    return total > kept
        ? "the prompt is too long: Qwen2.5-VL reads " + kept + " of its " + total + " tokens"
        : null;
  }
}
