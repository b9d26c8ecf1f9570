package org.glance4j.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.glance4j.HostMemory;
import org.glance4j.Recipe;
import org.glance4j.kernel.Backend;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CommandLineTest {
  @TempDir Path folder;

  private static Outcome run(String... arguments) {
    return Outcome.of(arguments);
  }

  private String file(String name) {
    return folder.resolve(name).toString();
  }

  private List<String> names() throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(f -> String.valueOf(f.getFileName())).sorted().toList();
    }
  }

  @Test
  void generatesAPictureAndRepeatsIt() throws IOException {
    Outcome first =
        run("generate", "red apple", "-o", file("a.png"), "--steps", "3", "--cfg", "3.5");
    assertEquals(0, first.exitCode(), first.err());
    assertEquals(64, ImageIO.read(folder.resolve("a.png").toFile()).getWidth());
    Outcome again = run("repeat", file("a.png"));
    assertEquals(0, again.exitCode(), again.err());
    assertTrue(again.out().contains("same pixels"), again.out());
    assertEquals(List.of("a-repeat.png", "a.png"), names());
  }

  @Test
  void repeatSeesAChangedPictureEvenOntoItself() throws IOException {
    Path file = folder.resolve("a.png");
    run("generate", "@panda", "-o", file.toString(), "--steps", "1");
    assertEquals("@panda", Recipe.read(file).request().prompt());
    Path other = folder.resolve("b.png");
    run("generate", "owl", "-o", other.toString(), "--steps", "1");
    assertTrue(run("repeat", file.toString(), "-o", file.toString()).out().contains("same pixels"));
    assertTrue(
        run("repeat", other.toString(), "-o", file.toString()).out().contains("same pixels"));
    Files.writeString(other, "no picture");
    assertEquals(1, run("repeat", other.toString()).exitCode());
  }

  @Test
  void countWritesEachImageAndASheet() throws IOException {
    Outcome run =
        run(
            "generate",
            "panda",
            "-o",
            file("p.png"),
            "--steps",
            "1",
            "--count",
            "3",
            "--json",
            "--latents-out",
            file("l.safetensors"));
    assertEquals(0, run.exitCode(), run.err());
    assertEquals(
        List.of(
            "l-1.safetensors",
            "l-2.safetensors",
            "l-3.safetensors",
            "p-1.png",
            "p-2.png",
            "p-3.png",
            "p-sheet.png"),
        names());
    JsonNode json = new ObjectMapper().readTree(run.out());
    assertEquals(1, run.out().lines().count());
    assertEquals(3, json.path("images").asInt());
    assertEquals(3, json.path("evaluations").asInt());
    assertEquals(1, json.path("phases").path("BASE").asInt());
    assertTrue(json.path("seconds").path("denoise").asDouble() > 0);
    assertTrue(json.path("peak_memory_bytes").asLong() > 0);
  }

  @Test
  void latentsGoInAndOut() throws IOException {
    String noise = file("noise.safetensors");
    assertEquals(
        0,
        run("generate", "key", "-o", file("k.png"), "--steps", "1", "--latents-out", noise)
            .exitCode());
    Outcome run =
        run("generate", "key", "-o", file("k2.png"), "--steps", "2", "--latents-in", noise);
    assertEquals(0, run.exitCode(), run.err());
    Outcome refused = run("repeat", file("k2.png"));
    assertEquals(2, refused.exitCode());
    assertTrue(refused.err().contains("--latents-in"), refused.err());
    assertEquals(0, run("repeat", file("k2.png"), "--latents-in", noise).exitCode());
  }

  @Test
  void customScheduleFromAFile() throws IOException {
    Path schedule = folder.resolve("mine.txt");
    Files.writeString(schedule, "# mine\nslow 1.0\nslow 0.9\nfast 0.5\n");
    Outcome run =
        run("generate", "owl", "-o", file("o.png"), "--schedule", "custom:" + schedule, "--json");
    assertEquals(0, run.exitCode(), run.err());
    JsonNode json = new ObjectMapper().readTree(run.out());
    assertEquals(2, json.path("phases").path("SLOW").asInt());
    Files.delete(schedule);
    assertEquals(0, run("repeat", file("o.png")).exitCode());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "generate",
        "generate x",
        "generate x -o DIR/a.png --nonsense",
        "generate x -o DIR/a.png --seed many",
        "generate x -o DIR/a.png --schedule nonsense",
        "generate x -o DIR/a.png --schedule glance --steps 4",
        "generate x -o DIR/a.png --dtype f64",
        "generate x -o DIR/a.png --height 1000",
        "generate x -o DIR/a.png --width 0",
        "generate x -o DIR/a.png --steps 0",
        "generate x -o DIR/a.png --count 0",
        "generate x -o DIR/a.png --cfg 0.5",
        "generate x -o DIR/a.png --cfg 1 --negative y",
        "generate x -o DIR/a.png --max-text-tokens 100000",
        "generate x -o DIR/a.png --threads -1",
        "generate x -o DIR/a.png --latents-out DIR/a.png",
        "generate x -o DIR/a.png --preset none --lora-scale 4",
        "generate x -o DIR/a.png --steps 2 --slow-lora s --fast-lora f",
      })
  void badUsageExitsWith2(String line) throws IOException {
    assertRefused(2, line);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "generate x -o DIR",
        "generate x -o DIR/no/such/folder/a.png",
        "generate x -o DIR/a.png --model DIR/nothing",
        "generate x -o DIR/a.png --slow-lora DIR/nothing.safetensors",
        "generate x -o DIR/a.png --latents-in DIR/nothing.safetensors",
        "generate x -o DIR/a.png --schedule custom:DIR/nothing.txt",
        "repeat DIR/nothing.png",
        "inspect DIR/nothing",
      })
  void failureExitsWith1(String line) throws IOException {
    assertRefused(1, line);
  }

  private void assertRefused(int exitCode, String line) throws IOException {
    Outcome run = run(line.replace("DIR", folder.toString()).split(" "));
    assertEquals(exitCode, run.exitCode(), run.err());
    assertFalse(run.err().isBlank());
    assertFalse(run.err().contains("\tat "), run.err());
    assertEquals(List.of(), names());
  }

  @Test
  void verboseShowsTheStackTrace() {
    Outcome run = run("generate", "x", "-o", file("a.png"), "--model", file("none"), "--verbose");
    assertEquals(1, run.exitCode());
    assertTrue(run.err().contains("\tat "), run.err());
  }

  @Test
  void cudaWithoutADeviceSaysWhatIsMissingAndDrawsNothing() throws IOException {
    assumeTrue(Backend.AUTO.resolve() != Backend.CUDA, "there is a CUDA device");
    Outcome outcome = run("generate", "apple", "-o", file("a.png"), "--backend", "cuda");
    assertEquals(1, outcome.exitCode(), outcome.err());
    for (String part : List.of("driver: ", "libcudnn.so.9: ", "searched: ", "to fix it: ")) {
      assertTrue(outcome.err().contains(part), outcome.err());
    }
    assertEquals(List.of(), names());
  }

  @Test
  void doctorAndInspectAnswer() {
    Outcome doctor = run("doctor");
    assertEquals(0, doctor.exitCode(), doctor.err());
    assertTrue(doctor.out().contains(System.getProperty("java.version")), doctor.out());
    assertTrue(doctor.out().contains("CUDA device"), doctor.out());
    assertTrue(doctor.out().contains("auto is " + Backend.AUTO.resolve() + " here"), doctor.out());
    Outcome inspect = run("inspect");
    assertEquals(0, inspect.exitCode(), inspect.err());
    assertTrue(inspect.out().contains("transformer"), inspect.out());
    assertTrue(inspect.out().getBytes(StandardCharsets.UTF_8).length > 100);
  }

  @Test
  void inspectTellsMemory() {
    Outcome inspect = run("inspect");
    for (String line :
        List.of(
            "memory that loading takes, beside the mapped files +cpu f32 +cpu bf16",
            " +text_encoder_2 +[\\d.]+ MB +[\\d.]+ MB",
            " +workspace, 64x64 with CFG +[\\d.]+ MB +[\\d.]+ MB",
            " +peak, all loaded at once +[\\d.]+ MB +[\\d.]+ MB",
            " +peak, parts taking turns +[\\d.]+ MB +[\\d.]+ MB")) {
      assertTrue(inspect.out().lines().anyMatch(l -> l.matches(line + ".*")), inspect.out());
    }
    if (HostMemory.availableBytes().isPresent()) {
      assertTrue(inspect.out().contains("free memory: "), inspect.out());
    }
  }

  @Test
  void partsTakingTurnsDrawTheSamePicture() throws IOException {
    for (String option : List.of("--keep-resident", "--no-keep-resident")) {
      String picture = file(option + ".png");
      Outcome run = run("generate", "owl", "--steps", "2", "--cfg", "2", "-o", picture, option);
      assertEquals(0, run.exitCode(), run.err());
    }
    assertArrayEquals(
        Files.readAllBytes(folder.resolve("--keep-resident.png")),
        Files.readAllBytes(folder.resolve("--no-keep-resident.png")));
  }

  @Test
  void tooLittleMemoryIsSaidInOneLine() throws IOException {
    System.setProperty(HostMemory.LIMIT, "1000000");
    try {
      Outcome run = run("generate", "owl", "-o", file("a.png"));
      assertEquals(1, run.exitCode());
      assertEquals(1, run.err().lines().count(), run.err());
      assertTrue(run.err().contains("but only 1.0 MB"), run.err());
      assertTrue(run("inspect").out().contains("free memory: 1.0 MB"));
    } finally {
      System.clearProperty(HostMemory.LIMIT);
    }
    assertEquals(List.of(), names());
  }
}
