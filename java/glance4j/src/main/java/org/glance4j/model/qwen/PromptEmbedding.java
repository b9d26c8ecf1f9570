package org.glance4j.model.qwen;

import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Encoded prompts, one a row.
 *
 * @param embeds what the transformer attends to: [prompts, tokens of the longest, width]; shorter
 *     prompts are followed by zeros
 * @param tokens how long each prompt is
 */
public record PromptEmbedding(Tensor embeds, List<PromptTokens> tokens) {
  /** Copies the list. */
  public PromptEmbedding {
    tokens = List.copyOf(tokens);
  }

  /** True if no prompt is followed by zeros, so that the mask says nothing. */
  public boolean isFull() {
    return tokens.stream().allMatch(prompt -> prompt.kept() == embeds.size(1));
  }

  /**
   * Which rows of {@link #embeds} are a prompt's own: bool [prompts, tokens of the longest], where
   * the embeds lie, of the caller's scope.
   */
  public Tensor mask() {
    long[] lengths = tokens.stream().mapToLong(PromptTokens::kept).toArray();
    Tensor position = torch.arange(new Scalar(embeds.size(1)));
    Tensor own = position.unsqueeze(0).lt(torch.tensor(lengths).unsqueeze(1));
    return own.to(embeds.device(), ScalarType.Bool);
  }
}
