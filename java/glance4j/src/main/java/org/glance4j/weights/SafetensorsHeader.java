package org.glance4j.weights;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;

/**
 * The header of a safetensors file: which tensors it holds and where. Reading it touches no tensor
 * data and does not load LibTorch. Immutable.
 *
 * <p>Layout of the file: 8 bytes little-endian header length, that many bytes of JSON, then the
 * tensors' bytes, which must cover the rest of the file without gap or overlap.
 *
 * @param file the file
 * @param tensors by name, in file order
 * @param metadata the free-form strings under {@code __metadata__}
 */
public record SafetensorsHeader(
    Path file, Map<String, TensorInfo> tensors, Map<String, String> metadata) {
  /** The format's own limit; a longer header is garbage. */
  private static final long MAX_HEADER_BYTES = 100_000_000;

  private static final JsonMapper JSON =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  /** Makes both maps unmodifiable, keeping their order. */
  public SafetensorsHeader {
    tensors = Collections.unmodifiableMap(new LinkedHashMap<>(tensors));
    metadata = Collections.unmodifiableMap(new LinkedHashMap<>(metadata));
  }

  /** Reads and checks the header of {@code file}. */
  public static SafetensorsHeader read(Path file) {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      long fileBytes = channel.size();
      if (fileBytes < Long.BYTES) {
        throw bad(file, "header", "the file has only " + fileBytes + " bytes; download it again");
      }
      long headerBytes = readFully(channel, 0, Long.BYTES).getLong();
      if (headerBytes < 2 || headerBytes > MAX_HEADER_BYTES) {
        throw bad(
            file,
            "header",
            "length " + Long.toUnsignedString(headerBytes) + " is not in 2..." + MAX_HEADER_BYTES);
      }
      long dataStart = Long.BYTES + headerBytes;
      if (dataStart > fileBytes) {
        throw bad(
            file,
            "header",
            "its length " + headerBytes + " goes past the file's " + fileBytes + " bytes");
      }
      return parse(file, readFully(channel, Long.BYTES, (int) headerBytes), dataStart, fileBytes);
    } catch (NoSuchFileException e) {
      throw new ModelFormatException(file + ": no such file", e);
    } catch (IOException e) {
      throw new ModelFormatException(file + ": cannot be read: " + e.getMessage(), e);
    }
  }

  private static SafetensorsHeader parse(
      Path file, ByteBuffer bytes, long dataStart, long fileBytes) {
    JsonNode root = parseJson(file, bytes);
    Map<String, String> metadata = new LinkedHashMap<>();
    List<TensorInfo> infos = new ArrayList<>();
    root.fields()
        .forEachRemaining(
            entry -> {
              if (entry.getKey().equals("__metadata__")) {
                readMetadata(file, entry.getValue(), metadata);
              } else {
                infos.add(readInfo(file, entry.getKey(), entry.getValue(), dataStart));
              }
            });
    infos.sort(Comparator.comparingLong(TensorInfo::offset).thenComparingLong(TensorInfo::bytes));
    requireCovered(file, infos, dataStart, fileBytes);
    Map<String, TensorInfo> tensors = new LinkedHashMap<>();
    infos.forEach(info -> tensors.put(info.name(), info));
    return new SafetensorsHeader(file, tensors, metadata);
  }

  private static JsonNode parseJson(Path file, ByteBuffer bytes) {
    try {
      String text = StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
      JsonNode root = JSON.readTree(text);
      if (root == null || !root.isObject()) {
        throw bad(file, "header", "is not a JSON object");
      }
      return root;
    } catch (CharacterCodingException e) {
      throw new ModelFormatException(file + ": header: is not UTF-8", e);
    } catch (JsonProcessingException e) {
      throw new ModelFormatException(
          file + ": header: is not valid JSON: " + e.getOriginalMessage(), e);
    }
  }

  private static void readMetadata(Path file, JsonNode node, Map<String, String> metadata) {
    if (!node.isObject()) {
      throw bad(file, "__metadata__", "is not an object of strings");
    }
    node.fields()
        .forEachRemaining(
            entry -> {
              if (!entry.getValue().isTextual()) {
                throw bad(
                    file,
                    "__metadata__",
                    entry.getKey() + " is " + entry.getValue() + ", not a string");
              }
              metadata.put(entry.getKey(), entry.getValue().textValue());
            });
  }

  private static TensorInfo readInfo(Path file, String name, JsonNode node, long dataStart) {
    if (!node.isObject() || !node.path("dtype").isTextual()) {
      throw bad(file, name, "has no dtype");
    }
    ScalarType dtype = SafetensorsDtype.of(node.get("dtype").textValue());
    if (dtype == null) {
      throw bad(file, name, "dtype " + node.get("dtype") + " is unknown");
    }
    List<Long> shape = readLongs(file, name, node, "shape");
    List<Long> range = readLongs(file, name, node, "data_offsets");
    if (range.size() != 2 || range.get(0) > range.get(1)) {
      throw bad(file, name, "data_offsets " + range + " is not [begin, end] with begin <= end");
    }
    long bytes = SafetensorsDtype.bytes(dtype);
    try {
      for (long size : shape) {
        bytes = Math.multiplyExact(bytes, size);
      }
      if (bytes != range.get(1) - range.get(0)) {
        throw bad(
            file,
            name,
            "shape " + shape + " needs " + bytes + " bytes, but data_offsets is " + range);
      }
      return new TensorInfo(name, dtype, shape, Math.addExact(dataStart, range.get(0)), bytes);
    } catch (ArithmeticException e) {
      throw new ModelFormatException(file + ": " + name + ": shape " + shape + " overflows", e);
    }
  }

  private static List<Long> readLongs(Path file, String name, JsonNode node, String key) {
    JsonNode array = node.path(key);
    if (!array.isArray()) {
      throw bad(file, name, "has no " + key);
    }
    List<Long> values = new ArrayList<>();
    for (JsonNode item : array) {
      if (!item.isIntegralNumber() || !item.canConvertToLong() || item.longValue() < 0) {
        throw bad(file, name, key + " " + array + " has a value that is not a whole number >= 0");
      }
      values.add(item.longValue());
    }
    return values;
  }

  private static void requireCovered(
      Path file, List<TensorInfo> infos, long dataStart, long fileBytes) {
    long next = dataStart;
    for (TensorInfo info : infos) {
      if (info.offset() != next) {
        throw bad(
            file,
            info.name(),
            "begins at byte "
                + (info.offset() - dataStart)
                + " of the data, expected "
                + (next - dataStart)
                + ": tensors must not overlap or leave gaps");
      }
      next += info.bytes();
    }
    if (next != fileBytes) {
      throw bad(
          file,
          "data",
          "the header describes "
              + next
              + " bytes in all, the file has "
              + fileBytes
              + (next > fileBytes ? "; it is cut short, download it again" : ""));
    }
  }

  private static ByteBuffer readFully(FileChannel channel, long position, int bytes)
      throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    while (buffer.hasRemaining()) {
      if (channel.read(buffer, position + buffer.position()) < 0) {
        throw new IOException("the file shrank while it was read");
      }
    }
    return buffer.flip();
  }

  private static ModelFormatException bad(Path file, String item, String reason) {
    return ModelFormatException.in(file, item, reason);
  }
}
