package org.glance4j.weights;

import java.util.Map;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/** The element types of safetensors that LibTorch has too, by the names of the format. */
final class SafetensorsDtype {
  private static final Map<String, ScalarType> BY_NAME =
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
          Map.entry("BOOL", ScalarType.Bool));

  private SafetensorsDtype() {}

  static @Nullable ScalarType of(String name) {
    return BY_NAME.get(name);
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
}
