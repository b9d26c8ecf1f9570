package org.glance4j.model.text;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.ModelFormatException;

/**
 * A prompt as token ids.
 *
 * @param ids the ids, padded or truncated as asked for; not copied
 * @param untruncatedLength how many tokens the whole prompt has, with the tokens that mark its
 *     beginning and end and without padding
 */
@SuppressWarnings("ArrayRecordComponent") // Compared by nothing; copying would only cost.
public record TokenIds(long[] ids, int untruncatedLength) {
  /**
   * Several prompts as the input of an encoder: [prompts, tokens of the longest]. Shorter ones are
   * followed by zeros.
   *
   * @param encoder what messages call the encoder
   * @param vocabularySize how many token embeddings the encoder has
   * @throws ModelFormatException if it has none for one of the ids
   */
  public static Tensor batch(String encoder, List<TokenIds> prompts, int vocabularySize) {
    int longest = prompts.stream().mapToInt(prompt -> prompt.ids().length).max().orElse(0);
    long[] ids =
        prompts.stream()
            .flatMapToLong(prompt -> Arrays.stream(Arrays.copyOf(prompt.ids(), longest)))
            .toArray();
    for (long id : ids) {
      if (id >= vocabularySize) {
        throw new ModelFormatException(
            "the %s tokenizer gives id %d, but the encoder has %d embeddings; both must come from one model"
                .formatted(encoder, id, vocabularySize));
      }
    }
    return torch.tensor(ids).view(prompts.size(), longest);
  }
}
