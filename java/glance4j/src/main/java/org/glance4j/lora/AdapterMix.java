package org.glance4j.lora;

import java.util.List;

/**
 * The adapters one forward pass applies, each with a strength that multiplies its scale. Choosing
 * another mix moves no weights. Immutable.
 *
 * @param parts applied in this order
 */
public record AdapterMix(List<Part> parts) implements AdapterChoice {
  /** No adapter: the base model. */
  public static final AdapterMix NONE = new AdapterMix(List.of());

  /** One adapter of a mix. Strength 1 is the adapter's own scale. */
  public record Part(LoraAdapter adapter, double strength) {}

  /** Copies the list. */
  public AdapterMix {
    parts = List.copyOf(parts);
  }

  /** True if one of the adapters changes the linear {@code name}. */
  public boolean changes(String name) {
    return parts.stream().anyMatch(part -> part.adapter().pair(name) != null);
  }

  /** One adapter at its own scale. */
  public static AdapterMix of(LoraAdapter adapter) {
    return of(adapter, 1);
  }

  /** One adapter at {@code strength} times its own scale. */
  public static AdapterMix of(LoraAdapter adapter, double strength) {
    return new AdapterMix(List.of(new Part(adapter, strength)));
  }
}
