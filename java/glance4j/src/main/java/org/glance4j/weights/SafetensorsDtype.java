package org.glance4j.weights;

import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * The element types of safetensors that LibTorch has too, by the names of the format.
 *
 * <p>{@link ScalarType} is a plain Java enum: using it does not load LibTorch.
 */
final class SafetensorsDtype {
  private static final Map<String, ScalarType> BY_NAME =
      new TreeMap<>(
          Map.ofEntries(
              Map.entry("F64", ScalarType.Double),
              Map.entry("F32", ScalarType.Float),
              Map.entry("F16", ScalarType.Half),
              Map.entry("BF16", ScalarType.BFloat16),
              Map.entry("F8_E4M3", ScalarType.Float8_e4m3fn),
              Map.entry("F8_E5M2", ScalarType.Float8_e5m2),
              Map.entry("I64", ScalarType.Long),
              Map.entry("I32", ScalarType.Int),
              Map.entry("I16", ScalarType.Short),
              Map.entry("I8", ScalarType.Char),
              Map.entry("U8", ScalarType.Byte),
              Map.entry("BOOL", ScalarType.Bool)));

  private static final Map<ScalarType, String> NAMES =
      BY_NAME.entrySet().stream()
          .collect(Collectors.toUnmodifiableMap(Map.Entry::getValue, Map.Entry::getKey));

  private SafetensorsDtype() {}

  /** The type of that name, or null if it is not one this library reads. */
  static @Nullable ScalarType of(String name) {
    return BY_NAME.get(name);
  }

  /** The format's name of {@code dtype}. */
  static String name(ScalarType dtype) {
    return NAMES.getOrDefault(dtype, dtype.toString());
  }

  /** All names, for messages. */
  static String names() {
    return String.join(", ", BY_NAME.keySet());
  }

  /** Bytes of one element. */
  static long bytes(ScalarType dtype) {
    return switch (dtype) {
      case Double, Long -> 8;
      case Float, Int -> 4;
      case Half, BFloat16, Short -> 2;
      default -> 1;
    };
  }

  /** True for the types whose values are real numbers: the ones a model's dtype replaces. */
  static boolean isFloating(ScalarType dtype) {
    return switch (dtype) {
      case Double, Float, Half, BFloat16, Float8_e4m3fn, Float8_e5m2 -> true;
      default -> false;
    };
  }
}
