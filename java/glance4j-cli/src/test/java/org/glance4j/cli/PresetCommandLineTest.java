package org.glance4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.glance4j.Glance;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PresetCommandLineTest {
  @TempDir static Path temporary;
  private static Path model;

  @BeforeAll
  static void copyModel() throws IOException {
    model = temporary.resolve("model");
    Path bundled = Glance.bundledModelFolder();
    try (Stream<Path> files = Files.walk(bundled)) {
      for (Path file : files.toList()) {
        Files.copy(file, model.resolve(bundled.relativize(file).toString()));
      }
    }
    Path adapters = Files.createDirectories(model.resolve("adapters"));
    for (String name : List.of("slow", "fast")) {
      writeAdapter(adapters.resolve(name + ".safetensors"));
    }
    Files.writeString(
        model.resolve("glance.json"),
        """
        {"presets": {
          "default": {
            "schedule": "custom:[slow 1.0, fast 0.6]", "cfg": 2.5, "lora_scale": 0.5,
            "slow_lora": "adapters/slow.safetensors", "fast_lora": "adapters/fast.safetensors"},
          "quick": {"schedule": "base-2"}}}
        """);
  }

  /** An adapter of rank 1 for one linear, all of whose values are the same. */
  private static void writeAdapter(Path file) throws IOException {
    int width = 192;
    int matrix = width * Float.BYTES;
    String name = "transformer.single_transformer_blocks.0.attn.to_v.lora_";
    String header =
        "{'%sA.weight': {'dtype': 'F32', 'shape': [1, %d], 'data_offsets': [0, %d]}, "
            + "'%sB.weight': {'dtype': 'F32', 'shape': [%d, 1], 'data_offsets': [%d, %d]}}";
    byte[] json =
        header
            .formatted(name, width, matrix, name, width, matrix, 2 * matrix)
            .replace('\'', '"')
            .getBytes(StandardCharsets.UTF_8);
    ByteBuffer bytes =
        ByteBuffer.allocate(Long.BYTES + json.length + 2 * matrix)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(json.length)
            .put(json);
    while (bytes.hasRemaining()) {
      bytes.putFloat(0.1f);
    }
    Files.write(file, bytes.array());
  }

  private static Outcome run(String line) {
    List<String> arguments = new ArrayList<>();
    for (String word : line.split(" ", -1)) {
      arguments.add(word.replace("DIR", temporary.toString()));
    }
    return Outcome.of(arguments.toArray(String[]::new));
  }

  private static JsonNode report(String options) throws IOException {
    Outcome run = run("generate panda -o DIR/a.png --json --model DIR/model" + options);
    assertEquals(0, run.exitCode(), run.err());
    return new ObjectMapper().readTree(run.out());
  }

  @Test
  void drawsWithTheDefaultAndRepeats() throws IOException {
    JsonNode json = report(" --lora-scale 2");
    assertEquals("default", json.path("preset").asText());
    assertEquals(2.5, json.path("cfg").asDouble());
    assertEquals("custom:[slow 1.0, fast 0.6]", json.path("schedule").asText());
    assertEquals(
        model.resolve("adapters/slow.safetensors").toString(), json.path("slow_lora").asText());
    assertEquals(
        model.resolve("adapters/fast.safetensors").toString(), json.path("fast_lora").asText());
    assertEquals(1, json.path("lora_scale").asDouble());
    assertEquals(4, json.path("evaluations").asInt());
    Outcome again = run("repeat DIR/a.png");
    assertTrue(again.out().contains("same pixels"), again.out() + again.err());
  }

  @Test
  void namedPresetAndNone() throws IOException {
    JsonNode quick = report(" --preset quick --cfg 3");
    assertEquals("quick", quick.path("preset").asText());
    assertEquals(3, quick.path("cfg").asDouble());
    assertTrue(quick.path("slow_lora").isNull());
    assertEquals(2, quick.path("phases").path("BASE").asInt());
    JsonNode none = report(" --preset none --steps 1");
    assertEquals("none", none.path("preset").asText());
    assertEquals(1, none.path("cfg").asDouble());
    Outcome again = run("repeat DIR/a.png");
    assertTrue(again.out().contains("same pixels"), again.out() + again.err());
  }

  @Test
  void inspectListsThem() {
    Outcome run = run("inspect DIR/model");
    assertEquals(0, run.exitCode(), run.err());
    for (String line :
        List.of(
            "preset default: custom:[slow 1.0, fast 0.6], cfg 2.5\n",
            "  slow slow.safetensors, fast fast.safetensors, scale 0.5\n",
            "preset quick: base-2, cfg 1.0\n")) {
      assertTrue(run.out().replace("\r", "").contains(line), run.out());
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--preset fine | no preset \"fine\"; use default, quick or none",
        "--preset quick --steps 2 | --preset quick has no effect with schedule base-2",
        "--preset default --schedule base | --preset default has no effect with schedule base",
        "--preset quick --schedule glance | --preset quick has no effect with schedule glance",
        "--preset quick --lora-scale 2 | --lora-scale 2.0 has no effect",
        "--preset none --lora-scale 2 | --lora-scale 2.0 has no effect",
        "--steps 2 --lora-scale 2 | --lora-scale 2.0 has no effect",
        "--preset quick --negative x | set cfg above 1",
      })
  void whatHasNoEffectIsRefused(String options, String message) {
    Outcome run = run("generate x -o DIR/no.png --model DIR/model " + options);
    assertEquals(2, run.exitCode(), run.err());
    assertTrue(run.err().contains(message), run.err());
    assertTrue(Files.notExists(temporary.resolve("no.png")));
  }
}
