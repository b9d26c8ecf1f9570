package org.glance4j.lora;

import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A set of LoRA pairs by the name of the linear they belong to, for example {@code
 * transformer_blocks.0.attn.to_q}. Immutable but for {@link #close()}, which frees the matrices.
 */
public final class LoraAdapter implements AutoCloseable {
  private final String name;
  private final Map<String, LoraPair> pairs;

  /**
   * @param name what messages call this adapter
   * @param pairs by linear; this adapter owns their tensors
   */
  public LoraAdapter(String name, Map<String, LoraPair> pairs) {
    this.name = name;
    this.pairs = Map.copyOf(pairs);
  }

  /** What messages call this adapter. */
  public String name() {
    return name;
  }

  /** All pairs by linear. */
  public Map<String, LoraPair> pairs() {
    return pairs;
  }

  /** The pair for {@code linear}, or null if this adapter leaves it alone. */
  public @Nullable LoraPair pair(String linear) {
    return pairs.get(linear);
  }

  /** Frees the matrices. Idempotent. */
  @Override
  public void close() {
    pairs
        .values()
        .forEach(
            pair -> {
              pair.down().close();
              pair.up().close();
            });
  }
}
