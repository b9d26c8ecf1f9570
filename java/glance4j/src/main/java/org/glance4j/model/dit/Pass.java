package org.glance4j.model.dit;

import org.glance4j.lora.AdapterChoice;
import org.glance4j.model.Probe;
import org.jspecify.annotations.Nullable;

/**
 * What one forward pass carries through all blocks.
 *
 * @param mix the adapters to apply
 * @param rope of all tokens, text first
 * @param padding which text tokens are only padding; null if none is
 * @param probe sees intermediate values
 */
public record Pass(AdapterChoice mix, Rope rope, @Nullable TextPadding padding, Probe probe) {
  /** A pass that nobody watches. */
  public Pass(AdapterChoice mix, Rope rope, @Nullable TextPadding padding) {
    this(mix, rope, padding, Probe.NONE);
  }
}
