package org.glance4j.model.flux;

import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * Encoded prompts, one a row.
 *
 * @param embeds what the transformer attends to, from T5: [prompts, text tokens, T5's width]
 * @param pooled what modulates the transformer, from CLIP: [prompts, CLIP's width]
 * @param tokens how long each prompt is
 */
public record PromptEmbedding(Tensor embeds, Tensor pooled, List<PromptTokens> tokens) {
  /** Copies the list. */
  public PromptEmbedding {
    tokens = List.copyOf(tokens);
  }
}
