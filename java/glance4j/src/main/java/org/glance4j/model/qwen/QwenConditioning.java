package org.glance4j.model.qwen;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Conditioning;
import org.jspecify.annotations.Nullable;

/**
 * One encoded prompt.
 *
 * @param embeds the text encoder's vectors [1, text tokens, contextDim]; each prompt has its own
 *     number of tokens
 * @param truncation see {@link Conditioning#truncation()}
 */
record QwenConditioning(Tensor embeds, @Nullable String truncation) implements Conditioning {
  @Override
  public void close() {
    embeds.close();
  }
}
