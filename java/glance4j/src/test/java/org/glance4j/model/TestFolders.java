package org.glance4j.model;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** Copies of model folders with something changed. */
public final class TestFolders {
  private static final ObjectMapper JSON = new ObjectMapper();

  private TestFolders() {}

  /** Copies the files of {@code from} into {@code to}. */
  public static Path copy(Path from, Path to) {
    try (Stream<Path> files = Files.list(from)) {
      for (Path file : files.toList()) {
        Files.copy(file, to.resolve(file.getFileName().toString()));
      }
      return to;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * Sets {@code key} in the folder's {@code config.json} to the JSON {@code value}; skips the test
   * if that is its value anyway.
   */
  public static void setConfig(Path folder, String key, String value) {
    Path config = folder.resolve("config.json");
    try {
      ObjectNode root = (ObjectNode) JSON.readTree(Files.readAllBytes(config));
      JsonNode node = JSON.readTree(value);
      assumeFalse(node.equals(root.get(key)), key + " is " + value + " in this folder");
      root.set(key, node);
      Files.write(config, JSON.writeValueAsBytes(root));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Replaces parts of tensors' names in a safetensors file; each must be there. */
  public static void renameTensors(Path file, Map<String, String> names) {
    try {
      // 8 bytes of length, JSON, then the data, which stays as it is.
      ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
      byte[] json = new byte[(int) bytes.getLong()];
      bytes.get(json);
      String header = new String(json, UTF_8);
      for (Map.Entry<String, String> name : names.entrySet()) {
        assertTrue(header.contains(name.getKey()), name.getKey());
        header = header.replace(name.getKey(), name.getValue());
      }
      // The data must stay aligned.
      byte[] renamed = header.concat(" ".repeat(8 - header.length() % 8)).getBytes(UTF_8);
      ByteBuffer out = ByteBuffer.allocate(8 + renamed.length + bytes.remaining());
      out.order(ByteOrder.LITTLE_ENDIAN).putLong(renamed.length).put(renamed).put(bytes);
      Files.write(file, out.array());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The folders in {@code folder}, sorted. */
  public static List<Path> foldersIn(Path folder) {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.filter(Files::isDirectory).sorted().toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
