package org.glance4j.weights;

import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The header of a safetensors file: which tensors it holds and where. Reading it touches no tensor
 * data and does not load LibTorch. Immutable.
 *
 * @param file the file
 * @param fileBytes the length of the file
 * @param tensors by name, in file order
 * @param metadata the free-form strings under {@code __metadata__}
 */
public record SafetensorsHeader(
    Path file, long fileBytes, Map<String, TensorInfo> tensors, Map<String, String> metadata) {
  /** Makes both maps unmodifiable, keeping their order. */
  public SafetensorsHeader {
    tensors = Collections.unmodifiableMap(new LinkedHashMap<>(tensors));
    metadata = Collections.unmodifiableMap(new LinkedHashMap<>(metadata));
  }

  /**
   * Reads and checks the header of {@code file}.
   *
   * @throws org.glance4j.ModelFormatException if the file cannot be read or breaks any rule of the
   *     format
   */
  public static SafetensorsHeader read(Path file) {
    return new SafetensorsHeaderReader(file).read();
  }
}
