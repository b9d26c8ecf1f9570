package org.glance4j;

import java.util.Locale;

/** The type a model's weights and activations have while it runs. Latents are always f32. */
public enum DType {
  /** 32-bit floats: the reference's own precision, and the default. */
  F32,
  /** bfloat16: half the memory, about 3 significant digits. */
  BF16;

  /** Parses {@code f32} or {@code bf16}. */
  public static DType parse(String text) {
    return switch (text.toLowerCase(Locale.ROOT)) {
      case "f32" -> F32;
      case "bf16" -> BF16;
      default ->
          throw new IllegalArgumentException("dtype \"" + text + "\" is unknown; use f32 or bf16");
    };
  }

  /** The form {@link #parse} reads. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
