package org.glance4j.lora;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Writes small safetensors files for tests. */
final class TestFile {
  private final Map<String, Object> header = new LinkedHashMap<>();
  private final ByteArrayOutputStream data = new ByteArrayOutputStream();

  TestFile metadata(String key, String value) {
    header.put("__metadata__", Map.of(key, value));
    return this;
  }

  /** An f32 matrix, row by row; {@code values} are repeated until it is full. */
  TestFile matrix(String name, int rows, int columns, float... values) {
    byte[] bytes = new byte[rows * columns * Float.BYTES];
    for (int i = 0; i < rows * columns; i++) {
      littleEndian(bytes).putFloat(i * Float.BYTES, values[i % values.length]);
    }
    return add(name, "F32", List.of(rows, columns), bytes);
  }

  TestFile alpha(String name, float alpha) {
    byte[] bytes = new byte[Float.BYTES];
    littleEndian(bytes).putFloat(alpha);
    return add(name, "F32", List.of(), bytes);
  }

  /** A matrix of zeros of type i32. */
  TestFile integers(String name, int rows, int columns) {
    return add(name, "I32", List.of(rows, columns), new byte[rows * columns * Integer.BYTES]);
  }

  Path write(Path file) {
    try {
      byte[] json = new ObjectMapper().writeValueAsBytes(header);
      byte[] length = new byte[Long.BYTES];
      littleEndian(length).putLong(json.length);
      ByteArrayOutputStream all = new ByteArrayOutputStream();
      all.writeBytes(length);
      all.writeBytes(json);
      all.writeBytes(data.toByteArray());
      return Files.write(file, all.toByteArray());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private TestFile add(String name, String dtype, List<Integer> shape, byte[] bytes) {
    int begin = data.size();
    data.writeBytes(bytes);
    header.put(
        name, Map.of("dtype", dtype, "shape", shape, "data_offsets", List.of(begin, data.size())));
    return this;
  }

  private static ByteBuffer littleEndian(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
