package org.glance4j.model;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.weights.SafetensorsFile;
import org.glance4j.weights.SafetensorsWriter;
import org.glance4j.weights.TensorInfo;

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

  /** As {@link #copy}, with all folders in it. */
  public static Path copyTree(Path from, Path to) {
    try (Stream<Path> files = Files.walk(from)) {
      // Folders come before what is in them; the first is from itself.
      for (Path file : files.skip(1).toList()) {
        Files.copy(file, to.resolve(from.relativize(file).toString()));
      }
      return to;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Changes the object in a JSON file. */
  public static void editJson(Path file, Consumer<ObjectNode> edit) {
    try {
      ObjectNode root = (ObjectNode) JSON.readTree(Files.readAllBytes(file));
      edit.accept(root);
      Files.write(file, JSON.writeValueAsBytes(root));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Deletes a file, or a folder of files. */
  public static void delete(Path path) {
    try {
      if (Files.isDirectory(path)) {
        filesIn(path, "").forEach(TestFolders::delete);
      }
      Files.delete(path);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * Makes zeros of some tensors of a folder, of another size in one dimension.
   *
   * @param dimensions which dimension of each of them
   */
  public static void resize(Path folder, Map<String, Integer> dimensions, long size) {
    Set<String> resized = new HashSet<>();
    change(
        folder,
        (info, tensor) -> {
          Integer dimension = dimensions.get(info.name());
          if (dimension == null) {
            return tensor;
          }
          resized.add(info.name());
          long[] shape = info.sizes();
          shape[dimension] = size;
          return torch.zeros(shape, tensor.options());
        });
    assertEquals(dimensions.keySet(), resized);
  }

  /**
   * Writes a folder's f32 tensors as f64: a model that runs in f32 converts them, to the same
   * values.
   */
  public static Path widen(Path folder) {
    change(
        folder,
        (info, tensor) ->
            tensor.scalar_type().intern() == ScalarType.Float
                ? tensor.to(ScalarType.Double)
                : tensor);
    return folder;
  }

  private static void change(Path folder, BiFunction<TensorInfo, Tensor, Tensor> change) {
    for (Path file : filesIn(folder, ".safetensors")) {
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      try (PointerScope scope = new PointerScope();
          SafetensorsFile tensors = SafetensorsFile.open(file)) {
        Map<String, Tensor> changed = new LinkedHashMap<>();
        for (TensorInfo info : tensors.tensors().values()) {
          changed.put(info.name(), change.apply(info, tensors.tensor(info.name())));
        }
        SafetensorsWriter.write(out, changed, tensors.header().metadata());
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      write(file, out.toByteArray());
    }
  }

  private static void write(Path file, byte[] bytes) {
    try {
      Files.write(file, bytes);
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

  /** The files in {@code folder} whose names end so, sorted. */
  public static List<Path> filesIn(Path folder, String end) {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries
          .filter(file -> Files.isRegularFile(file) && file.toString().endsWith(end))
          .sorted()
          .toList();
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
