package org.glance4j.weights;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;

/**
 * Reads one safetensors header, trusting nothing in it.
 *
 * <p>Layout of the file: 8 bytes little-endian header length, that many bytes of JSON (which may
 * end in padding), then the tensors' bytes, which must cover the rest of the file without gap or
 * overlap.
 */
final class SafetensorsHeaderReader {
  /** The format's own limit; a longer header is garbage. */
  private static final long MAX_HEADER_BYTES = 100_000_000;

  /** The first 8 bytes of a Git LFS pointer, read as a header length. */
  private static final long GIT_LFS_MARK =
      ByteBuffer.wrap("version ".getBytes(StandardCharsets.US_ASCII))
          .order(ByteOrder.LITTLE_ENDIAN)
          .getLong();

  private static final JsonMapper JSON =
      JsonMapper.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build();

  private final Path file;
  private final Map<String, String> metadata = new LinkedHashMap<>();
  private final List<TensorInfo> infos = new ArrayList<>();

  SafetensorsHeaderReader(Path file) {
    this.file = file;
  }

  SafetensorsHeader read() {
    InputFile.require(file);
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      long fileBytes = channel.size();
      long headerBytes = headerBytes(channel, fileBytes);
      long dataStart = Long.BYTES + headerBytes;
      parse(readFully(channel, Long.BYTES, (int) headerBytes), dataStart);
      infos.sort(Comparator.comparingLong(TensorInfo::offset).thenComparingLong(TensorInfo::bytes));
      requireCovered(dataStart, fileBytes);
      Map<String, TensorInfo> tensors = new LinkedHashMap<>();
      infos.forEach(info -> tensors.put(info.name(), info));
      return new SafetensorsHeader(file, fileBytes, tensors, metadata);
    } catch (IOException e) {
      throw InputFile.unreadable(file, e);
    }
  }

  private long headerBytes(FileChannel channel, long fileBytes) throws IOException {
    if (fileBytes < Long.BYTES) {
      throw bad("header", "the file has only " + fileBytes + " bytes; download it again");
    }
    long headerBytes = readFully(channel, 0, Long.BYTES).getLong();
    if (headerBytes == GIT_LFS_MARK) {
      throw bad("header", "this is a Git LFS pointer, not the weights; run \"git lfs pull\"");
    }
    if (headerBytes < 2 || headerBytes > MAX_HEADER_BYTES) {
      throw bad(
          "header",
          "length "
              + Long.toUnsignedString(headerBytes)
              + " is not in 2..."
              + MAX_HEADER_BYTES
              + "; this is not a safetensors file");
    }
    if (headerBytes > fileBytes - Long.BYTES) {
      throw bad(
          "header",
          "its length "
              + headerBytes
              + " goes past the file's "
              + fileBytes
              + " bytes; the file is cut short, download it again");
    }
    return headerBytes;
  }

  private void parse(ByteBuffer bytes, long dataStart) throws IOException {
    try (JsonParser parser = JSON.createParser(text(bytes))) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw bad("header", "is not a JSON object");
      }
      // One entry's tree at a time: a whole header's tree may be many times the header.
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String name = parser.currentName();
        parser.nextToken();
        JsonNode node = parser.readValueAsTree();
        if (name.equals("__metadata__")) {
          readMetadata(node);
        } else {
          infos.add(readInfo(name, node, dataStart));
        }
      }
      if (parser.nextToken() != null) {
        throw bad("header", "has something behind its JSON object");
      }
    } catch (JsonProcessingException e) {
      throw new ModelFormatException(
          file + ": header: is not valid JSON: " + e.getOriginalMessage(), e);
    }
  }

  private String text(ByteBuffer bytes) {
    try {
      String text = StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
      if (text.charAt(0) != '{') {
        throw bad("header", "is not a JSON object");
      }
      return text;
    } catch (CharacterCodingException e) {
      throw new ModelFormatException(file + ": header: is not UTF-8", e);
    }
  }

  private void readMetadata(JsonNode node) {
    if (!node.isObject()) {
      throw bad("__metadata__", "is not an object of strings");
    }
    for (Map.Entry<String, JsonNode> entry : node.properties()) {
      if (!entry.getValue().isTextual()) {
        throw bad("__metadata__", show(entry.getKey(), entry.getValue()) + " is not a string");
      }
      metadata.put(entry.getKey(), entry.getValue().textValue());
    }
  }

  private TensorInfo readInfo(String name, JsonNode node, long dataStart) {
    if (!node.path("dtype").isTextual()) {
      throw bad(name, "has no dtype");
    }
    ScalarType dtype = SafetensorsDtype.of(node.get("dtype").textValue());
    if (dtype == null) {
      throw bad(
          name,
          show("dtype", node.get("dtype"))
              + " is not supported; it can be "
              + SafetensorsDtype.names());
    }
    List<Long> shape = readLongs(name, node, "shape");
    List<Long> range = readLongs(name, node, "data_offsets");
    if (range.size() != 2 || range.get(0) > range.get(1)) {
      throw bad(
          name,
          show("data_offsets", node.get("data_offsets"))
              + " is not [begin, end] with begin <= end");
    }
    try {
      long bytes = bytes(dtype, shape);
      if (bytes != range.get(1) - range.get(0)) {
        throw bad(
            name,
            show("shape", node.get("shape"))
                + " of "
                + SafetensorsDtype.name(dtype)
                + " needs "
                + bytes
                + " bytes, but data_offsets is "
                + range);
      }
      return new TensorInfo(name, dtype, shape, Math.addExact(dataStart, range.get(0)), bytes);
    } catch (ArithmeticException e) {
      throw bad(name, show("shape", node.get("shape")) + " overflows");
    }
  }

  /** Zero sizes count as one while checking for overflow: strides are computed that way. */
  private static long bytes(ScalarType dtype, List<Long> shape) {
    long bytes = SafetensorsDtype.bytes(dtype);
    for (long size : shape) {
      bytes = Math.multiplyExact(bytes, Math.max(size, 1));
    }
    return shape.contains(0L) ? 0 : bytes;
  }

  private List<Long> readLongs(String name, JsonNode node, String key) {
    JsonNode array = node.path(key);
    if (!array.isArray()) {
      throw bad(name, "has no " + key);
    }
    List<Long> values = new ArrayList<>(array.size());
    for (JsonNode item : array) {
      if (!item.isIntegralNumber() || !item.canConvertToLong() || item.longValue() < 0) {
        throw bad(
            name, show(key, array) + " has a value that is not a whole number from 0 to 2^63 - 1");
      }
      values.add(item.longValue());
    }
    return values;
  }

  private void requireCovered(long dataStart, long fileBytes) {
    long next = dataStart;
    for (TensorInfo info : infos) {
      if (info.offset() != next) {
        throw bad(
            info.name(),
            "begins at byte "
                + (info.offset() - dataStart)
                + " of the data, expected "
                + (next - dataStart)
                + ": tensors must not overlap or leave gaps");
      }
      if (info.bytes() > fileBytes - next) {
        throw bad(
            info.name(),
            "needs "
                + info.bytes()
                + " bytes, but the file ends after "
                + (fileBytes - next)
                + " of them; it is cut short, download it again");
      }
      next += info.bytes();
    }
    if (next != fileBytes) {
      throw bad(
          "data",
          "the file has "
              + (fileBytes - next)
              + " bytes behind its last tensor; it is damaged, download it again");
    }
  }

  private ByteBuffer readFully(FileChannel channel, long position, int bytes) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    while (buffer.hasRemaining()) {
      if (channel.read(buffer, position + buffer.position()) < 0) {
        throw bad("header", "the file shrank while it was read");
      }
    }
    return buffer.flip();
  }

  private static String show(String key, JsonNode value) {
    return InputFile.shorten(key) + " " + InputFile.shorten(value.toString());
  }

  private ModelFormatException bad(String item, String reason) {
    return ModelFormatException.in(file, InputFile.shorten(item), reason);
  }
}
