package org.glance4j.model.flux;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * How long a prompt is for each text encoder.
 *
 * @param clip tokens of the prompt for CLIP
 * @param clipLimit how many of them CLIP reads
 * @param t5 tokens of the prompt for T5
 * @param t5Limit how many of them T5 reads
 */
public record PromptTokens(int clip, int clipLimit, int t5, int t5Limit) {
  /** What the encoders do not read of the prompt, in words; null if they read all of it. */
  public @Nullable String truncation() {
    List<String> parts = new ArrayList<>();
    describe(parts, "CLIP", clip, clipLimit);
    describe(parts, "T5", t5, t5Limit);
    return parts.isEmpty() ? null : "the prompt is too long: " + String.join("; ", parts);
  }

  private static void describe(List<String> parts, String encoder, int tokens, int limit) {
    if (tokens > limit) {
      parts.add(encoder + " reads " + limit + " of its " + tokens + " tokens");
    }
  }
}
