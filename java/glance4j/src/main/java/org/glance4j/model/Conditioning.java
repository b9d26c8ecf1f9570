package org.glance4j.model;

import org.jspecify.annotations.Nullable;

/**
 * One encoded prompt, in whatever form its model needs. Immutable; its tensors live until {@link
 * #close()}, so that it can be cached over generations.
 */
public interface Conditioning extends AutoCloseable {
  /** What the token limit cut off, in words for a warning, or null if the prompt fitted. */
  @Nullable String truncation();

  @Override
  void close();
}
