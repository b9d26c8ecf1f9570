package org.glance4j.schedule;

import java.util.Locale;

/** Which adapter serves a step. Its text form is its name in lower case. */
public enum Phase {
  /** No adapter: the base model. */
  BASE,
  /** Early steps, which decide what the picture is: Slow-LoRA. */
  SLOW,
  /** Late steps, which refine it: Fast-LoRA. */
  FAST;

  /**
   * The phase named {@code text}, in any case.
   *
   * @throws IllegalArgumentException if there is none
   */
  public static Phase parse(String text) {
    for (Phase phase : values()) {
      if (phase.name().equalsIgnoreCase(text)) {
        return phase;
      }
    }
    throw new IllegalArgumentException(
        "phase \"" + text + "\" is not known; use base, slow or fast");
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
