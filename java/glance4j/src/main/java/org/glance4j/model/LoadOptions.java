package org.glance4j.model;

import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;

/**
 * How a model is opened.
 *
 * @param dtype of the text encoders and the transformer
 * @param backend what all parts run on
 * @param resident true to keep all parts in memory, false to let text encoders and transformer take
 *     turns
 */
public record LoadOptions(ScalarType dtype, Backend backend, boolean resident) {
  /** Names the backend that {@link Backend#AUTO} comes to. */
  public LoadOptions {
    backend = backend.resolve();
  }
}
