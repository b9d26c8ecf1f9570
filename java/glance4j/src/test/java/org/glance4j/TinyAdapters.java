package org.glance4j;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/** Adapters of random numbers for the bundled model. */
final class TinyAdapters {
  private static final int WIDTH = 192;
  private static final int SINGLE_BLOCKS = 4;
  private static final int RANK = 16;

  private TinyAdapters() {}

  /** Writes the adapter of {@code seed}: queries, keys, values and outputs of the single blocks. */
  static Path write(Path file, long seed) {
    Map<String, Integer> outputs = new LinkedHashMap<>();
    for (int i = 0; i < SINGLE_BLOCKS; i++) {
      for (String linear : List.of("to_q", "to_k", "to_v")) {
        outputs.put("transformer.single_transformer_blocks." + i + ".attn." + linear, WIDTH);
      }
    }
    return write(file, outputs, new Random(seed));
  }

  /** Writes an adapter for a linear the model does not have. */
  static Path writeForAnotherModel(Path file) {
    return write(file, Map.of("transformer.no_such_block.to_q", WIDTH), new Random(0));
  }

  private static Path write(Path file, Map<String, Integer> linears, Random random) {
    Map<String, Object> header = new LinkedHashMap<>();
    int floats = 0;
    for (Map.Entry<String, Integer> linear : linears.entrySet()) {
      floats += add(header, linear.getKey() + ".lora_A.weight", RANK, WIDTH, floats);
      floats += add(header, linear.getKey() + ".lora_B.weight", linear.getValue(), RANK, floats);
    }
    try {
      byte[] json = new ObjectMapper().writeValueAsBytes(header);
      ByteBuffer bytes =
          ByteBuffer.allocate(Long.BYTES + json.length + floats * Float.BYTES)
              .order(ByteOrder.LITTLE_ENDIAN)
              .putLong(json.length)
              .put(json);
      for (int i = 0; i < floats; i++) {
        bytes.putFloat((float) (0.1 * random.nextGaussian()));
      }
      return Files.write(file, bytes.array());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static int add(Map<String, Object> header, String name, int rows, int columns, int at) {
    int size = rows * columns;
    List<Integer> offsets = List.of(at * Float.BYTES, (at + size) * Float.BYTES);
    header.put(
        name, Map.of("dtype", "F32", "shape", List.of(rows, columns), "data_offsets", offsets));
    return size;
  }
}
