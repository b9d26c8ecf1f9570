package org.glance4j.weights;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.BiConsumer;

/** Writes small safetensors files for tests. */
final class TestSafetensors {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final ObjectNode header = JSON.createObjectNode();
  private final ByteArrayOutputStream data = new ByteArrayOutputStream();
  private int padding = -1;

  TestSafetensors metadata(String key, String value) {
    header.withObjectProperty("__metadata__").put(key, value);
    return this;
  }

  /** Appends {@code spaces} to the header, by default as many as align the data to 8 bytes. */
  TestSafetensors pad(int spaces) {
    padding = spaces;
    return this;
  }

  TestSafetensors add(String name, String dtype, long[] shape, byte[] bytes) {
    ObjectNode entry = header.putObject(name).put("dtype", dtype);
    entry.putPOJO("shape", shape);
    entry.putArray("data_offsets").add(data.size()).add(data.size() + bytes.length);
    data.writeBytes(bytes);
    return this;
  }

  TestSafetensors floats(String name, long[] shape, float... values) {
    return add(name, "F32", shape, bytes(values));
  }

  static byte[] bytes(float... values) {
    return bytes(values.length, 4, (buffer, i) -> buffer.putFloat(values[i]));
  }

  /** Little-endian bytes of {@code count} elements. */
  static byte[] bytes(int count, int elementBytes, BiConsumer<ByteBuffer, Integer> put) {
    ByteBuffer buffer = ByteBuffer.allocate(count * elementBytes).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      put.accept(buffer, i);
    }
    return buffer.array();
  }

  byte[] toBytes() {
    String json = headerText();
    int bytes = json.getBytes(StandardCharsets.UTF_8).length;
    int spaces = padding >= 0 ? padding : -bytes & 7;
    return file((json + " ".repeat(spaces)).getBytes(StandardCharsets.UTF_8), data.toByteArray());
  }

  private String headerText() {
    try {
      return JSON.writeValueAsString(header);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** A file of any header and data, right or wrong. */
  static byte[] file(byte[] json, byte[] data) {
    return ByteBuffer.allocate(Long.BYTES + json.length + data.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(json.length)
        .put(json)
        .put(data)
        .array();
  }

  Path write(Path file) {
    return write(file, toBytes());
  }

  static Path write(Path file, byte[] bytes) {
    try {
      Files.createDirectories(file.getParent());
      return Files.write(file, bytes);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
