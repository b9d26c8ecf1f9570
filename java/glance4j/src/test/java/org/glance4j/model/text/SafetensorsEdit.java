package org.glance4j.model.text;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
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
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/** Makes a model folder whose tensors have other names, from one whose weights are good. */
final class SafetensorsEdit {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final ObjectNode header = JSON.createObjectNode();
  private final ByteArrayOutputStream data = new ByteArrayOutputStream();

  /**
   * All tensors of {@code folder}.
   *
   * @param rename gives each tensor's new name; an empty one leaves it out
   */
  SafetensorsEdit(Path folder, UnaryOperator<String> rename) {
    try (Stream<Path> entries = Files.list(folder)) {
      for (Path file : entries.filter(f -> f.toString().endsWith(".safetensors")).toList()) {
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
        byte[] head = new byte[(int) bytes.getLong()];
        bytes.get(head);
        for (Map.Entry<String, JsonNode> entry : JSON.readTree(head).properties()) {
          String name = rename.apply(entry.getKey());
          if (!entry.getKey().equals("__metadata__") && !name.isEmpty()) {
            int begin = entry.getValue().at("/data_offsets/0").asInt();
            byte[] values = new byte[entry.getValue().at("/data_offsets/1").asInt() - begin];
            bytes.slice().get(begin, values);
            List<Integer> shape =
                JSON.convertValue(entry.getValue().get("shape"), new TypeReference<>() {});
            add(name, entry.getValue().get("dtype").asText(), shape, values);
          }
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  SafetensorsEdit add(String name, String dtype, List<Integer> shape, byte[] values) {
    ObjectNode entry = header.putObject(name).put("dtype", dtype);
    entry.set("shape", JSON.valueToTree(shape));
    entry.putArray("data_offsets").add(data.size()).add(data.size() + values.length);
    data.writeBytes(values);
    return this;
  }

  /** Writes the weights and {@code config} into {@code folder}. */
  Path write(Path folder, JsonNode config) {
    try {
      Files.createDirectories(folder);
      JSON.writeValue(folder.resolve("config.json").toFile(), config);
      // Padded so that the data is aligned.
      String head = header.toString();
      byte[] padded = (head + " ".repeat(-head.length() & 7)).getBytes(StandardCharsets.UTF_8);
      ByteBuffer file =
          ByteBuffer.allocate(Long.BYTES + padded.length + data.size())
              .order(ByteOrder.LITTLE_ENDIAN);
      file.putLong(padded.length).put(padded).put(data.toByteArray());
      Files.write(folder.resolve("model.safetensors"), file.array());
      return folder;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The configuration in {@code folder}. */
  static ObjectNode config(Path folder) {
    try {
      return (ObjectNode) JSON.readTree(folder.resolve("config.json").toFile());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
