package org.glance4j.weights;

import static org.glance4j.weights.Refusal.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsHeaderTest {
  @TempDir Path folder;

  /**
   * Each header with 4 bytes of data behind it: what the message must name, and what it must say.
   */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "[]                                                                | header   | object",
        "`  {}`                                                            | header   | object",
        "{\"a\"                                                            | header   | JSON",
        "{} {}                                                             | header   | behind",
        "{\"a\":1}                                                         | a        | dtype",
        "{\"a\":null}                                                      | a        | dtype",
        "{\"a\":{\"dtype\":4}}                                             | a        | dtype",
        "{\"a\":{\"dtype\":\"F12\"}}                                       | a        | F12",
        "{\"a\":{\"dtype\":\"f32\"}}                                       | a        | F32",
        "{\"a\":{\"dtype\":\"F32\"}}                                       | a        | shape",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":1}}                           | a        | shape",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}                         | a        | data_offsets",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}} | a       | shape [1.0]",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}} | a        | shape [-1]",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]}} | a     | whole number",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4]}}    | a        | [4]",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}  | a        | [4,0]",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}} | a       | [0,4,4]",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,9223372036854775808]}} | a | 9223372036854775808",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9223372036854775803,9223372036854775807]}} | a | overflows",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}  | a        | needs 8 bytes",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,4]}}  | a        | needs 0 bytes",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[0,4611686018427387904,4],\"data_offsets\":[0,0]}} | a | overflows",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}  | a        | begins at byte 4",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}  | a        | cut short",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}   | data     | 1 bytes behind",
        "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}} | header | uplicate",
        "{\"__metadata__\":[]}                                             | __metadata__ | object",
        "{\"__metadata__\":{\"k\":{}}}                                     | __metadata__ | k {}",
      })
  void refuses(String header, String item, String reason) {
    byte[] bytes = TestSafetensors.file(header.getBytes(StandardCharsets.UTF_8), new byte[4]);
    Path file = TestSafetensors.write(folder.resolve("bad.safetensors"), bytes);
    assertRefused(file, () -> SafetensorsHeader.read(file), ": " + item + ": ", reason);
  }

  @ParameterizedTest
  @ValueSource(
      longs = {0, 1, 13, 100_000_001, Integer.MAX_VALUE, Long.MAX_VALUE, Long.MIN_VALUE, -1})
  void refusesImpossibleHeaderLengths(long length) {
    byte[] bytes = new byte[20];
    ByteBuffer.wrap(bytes)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(length)
        .put("{}".getBytes(StandardCharsets.UTF_8));
    Path file = TestSafetensors.write(folder.resolve("bad.safetensors"), bytes);
    assertRefused(
        file, () -> SafetensorsHeader.read(file), "header", Long.toUnsignedString(length));
  }

  @Test
  void keepsFileOrderAndMetadata() {
    Path file =
        new TestSafetensors()
            .metadata("format", "pt")
            .metadata("note", "größe")
            .floats("z", new long[] {2}, 1, 2)
            .floats("a", new long[] {1, 1}, 3)
            .write(folder.resolve("a.safetensors"));
    SafetensorsHeader header = SafetensorsHeader.read(file);
    assertEquals(List.of("z", "a"), List.copyOf(header.tensors().keySet()));
    assertEquals(Map.of("format", "pt", "note", "größe"), header.metadata());
    long end =
        header.tensors().values().stream().mapToLong(t -> t.offset() + t.bytes()).max().orElse(0);
    assertEquals(header.fileBytes(), end);
  }

  @Test
  void messagesStayShortWhateverTheFileSays() {
    String name = "n".repeat(40_000);
    byte[] json =
        ("{\"" + name + "\":{\"dtype\":\"" + name + "\"}}").getBytes(StandardCharsets.UTF_8);
    Path file =
        TestSafetensors.write(
            folder.resolve("bad.safetensors"), TestSafetensors.file(json, new byte[0]));
    assertRefused(file, () -> SafetensorsHeader.read(file), "nnn... (40000 characters)");
  }

  @Test
  void readsAHundredThousandTensors() {
    int count = 100_000;
    StringBuilder json = new StringBuilder("{");
    for (int i = 0; i < count; i++) {
      json.append(i == 0 ? "" : ",")
          .append("\"layers.")
          .append(i)
          .append(".weight\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[")
          .append(i)
          .append(',')
          .append(i + 1)
          .append("]}");
    }
    byte[] bytes =
        TestSafetensors.file(
            json.append('}').toString().getBytes(StandardCharsets.UTF_8), new byte[count]);
    Path file = TestSafetensors.write(folder.resolve("many.safetensors"), bytes);
    assertEquals(count, SafetensorsHeader.read(file).tensors().size());
  }
}
