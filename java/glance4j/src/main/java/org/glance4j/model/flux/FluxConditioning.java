package org.glance4j.model.flux;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Conditioning;
import org.jspecify.annotations.Nullable;

/**
 * One encoded prompt.
 *
 * @param embeds T5's vectors [1, text tokens, contextDim]
 * @param pooled CLIP's vector [1, pooledDim]
 * @param truncation see {@link Conditioning#truncation()}
 */
record FluxConditioning(Tensor embeds, Tensor pooled, @Nullable String truncation)
    implements Conditioning {
  /** Takes the tensors out of the current scope. */
  static FluxConditioning retain(PromptEmbedding embedding) {
    return new FluxConditioning(
        embedding.embeds().retainReference(),
        embedding.pooled().retainReference(),
        embedding.tokens().get(0).truncation());
  }

  @Override
  public void close() {
    embeds.close();
    pooled.close();
  }
}
