package org.glance4j.weights;

import static org.glance4j.weights.Refusal.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class ConfigFileTest {
  @TempDir Path folder;

  private ConfigFile read(String json) throws IOException {
    Path file = folder.resolve("config.json");
    Files.deleteIfExists(file);
    return ConfigFile.read(Files.writeString(file, json));
  }

  @Test
  void readsEveryType() throws IOException {
    ConfigFile config =
        read(
            """
            {"_class_name": "C", "i": -3, "n": 2, "x": 1e-5, "b": true, "none": null, "s": "text",
             "list": [4, 14, 14], "names": ["a"], "numbers": [1, -0.5],
             "bools": [true, false], "map": {"k": "v"}, "nulls": [null, null]}
            """);
    config.requireClass("C");
    assertEquals(-3, config.integer("i"));
    assertEquals(2, config.positiveInt("n"));
    assertEquals(1e-5, config.number("x"));
    assertEquals(2.0, config.number("n"));
    assertTrue(config.boolOr("b", false));
    assertEquals("text", config.string("s"));
    assertEquals(List.of(4, 14, 14), config.positiveInts("list"));
    assertEquals(List.of("a"), config.strings("names"));
    assertEquals(List.of(1.0, -0.5), config.numbers("numbers"));
    assertEquals(List.of(true, false), config.bools("bools"));
    assertEquals(Map.of("k", "v"), config.stringMap("map"));
    assertTrue(config.isListOfNulls("nulls"));
    assertFalse(config.isListOfNulls("list"));
    assertTrue(config.isList("list"));
    assertTrue(config.keys().containsAll(Set.of("_class_name", "none")));
    for (String absent : List.of("none", "nowhere")) {
      assertFalse(config.has(absent));
      assertEquals(7, config.integerOr(absent, 7));
      assertEquals(7, config.positiveIntOr(absent, 7));
      assertEquals(7.5, config.numberOr(absent, 7.5));
      assertEquals("x", config.stringOr(absent, "x"));
      assertTrue(config.boolOr(absent, true));
    }
  }

  static Stream<Arguments> wrongValues() {
    return Stream.of(
        wrong("\"two\"", c -> c.positiveInt("key")),
        wrong("0", c -> c.positiveInt("key")),
        wrong("2.0", c -> c.positiveIntOr("key", 1)),
        wrong("2147483648", c -> c.integer("key")),
        wrong("true", c -> c.integerOr("key", 1)),
        wrong("\"1\"", c -> c.number("key")),
        wrong("1e999", c -> c.numberOr("key", 1)),
        wrong("1", c -> c.string("key")),
        wrong("[]", c -> c.stringOr("key", "")),
        wrong("\"true\"", c -> c.boolOr("key", true)),
        wrong("3", c -> c.positiveInts("key")),
        wrong("[3, 0]", c -> c.positiveInts("key")),
        wrong("[\"3\"]", c -> c.positiveInts("key")),
        wrong("[1]", c -> c.strings("key")),
        wrong("[1, \"2\"]", c -> c.numbers("key")),
        wrong("[1e999]", c -> c.numbers("key")),
        wrong("[true, 1]", c -> c.bools("key")),
        wrong("{\"a\": 1}", c -> c.stringMap("key")),
        wrong("\"" + "long".repeat(99_999) + "\"", c -> c.integer("key")));
  }

  private static Arguments wrong(String value, Consumer<ConfigFile> getter) {
    return Arguments.of(value.substring(0, Math.min(20, value.length())), value, getter);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("wrongValues")
  void refusesWrongTypes(String shown, String value, Consumer<ConfigFile> getter)
      throws IOException {
    ConfigFile config = read("{\"key\": " + value + "}");
    assertRefused(config.file(), () -> getter.accept(config), ": key", "is not");
    ConfigFile empty = read("{}");
    assertRefused(empty.file(), () -> empty.string("key"), ": key: is missing");
    assertRefused(empty.file(), () -> empty.requireClass("C"), ": _class_name: is missing");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "  ",
        "[]",
        "1",
        "{",
        "{} {}",
        "{\"a\": 1, \"a\": 2}",
        "{a: 1}",
        "{\"a\": NaN}"
      })
  void refusesWhatIsNotOneObject(String json) {
    assertRefused(folder.resolve("config.json"), () -> read(json), ": content: ");
  }

  @Test
  void refusesWhatIsNoReadableFile() throws IOException {
    Path none = folder.resolve("none.json");
    assertRefused(none, () -> ConfigFile.read(none), "no such file");
    assertRefused(folder, () -> ConfigFile.read(folder), "not a regular file");
    Path huge = folder.resolve("huge.json");
    try (RandomAccessFile file = new RandomAccessFile(huge.toFile(), "rw")) {
      file.setLength(1L << 40);
    }
    assertRefused(huge, () -> ConfigFile.read(huge), "1099511627776 bytes");
    Files.write(none, new byte[] {'{', '"', (byte) 0xC3, '"', ':', '1', '}'});
    assertRefused(none, () -> ConfigFile.read(none), ": content: ");
  }

  @Test
  void refusesBottomlessNesting() {
    assertRefused(
        folder.resolve("config.json"),
        () -> read("{\"a\": " + "[".repeat(1_000_000)),
        ": content: ");
  }
}
