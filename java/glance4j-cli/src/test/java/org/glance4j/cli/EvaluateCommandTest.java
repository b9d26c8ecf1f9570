package org.glance4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class EvaluateCommandTest {
  @TempDir Path folder;

  private static Outcome run(List<String> arguments) {
    return Outcome.of(arguments.toArray(new String[0]));
  }

  private static List<String> names(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(f -> String.valueOf(f.getFileName())).sorted().toList();
    }
  }

  @BeforeEach
  void write() throws IOException {
    Files.writeString(folder.resolve("prompts.txt"), "# two\nred apple\n\npanda\n");
    Files.writeString(folder.resolve("bad.txt"), "a: schedule=base-2\nb: schedule=base-2 cgf=1\n");
    Files.writeString(folder.resolve("empty.txt"), "# none\n");
    Files.writeString(folder.resolve("methods.txt"), "base/1: schedule=base-1\n");
  }

  @Test
  void comparesMethodsAndWritesAllFiles() throws IOException {
    Path output = folder.resolve("new/results");
    Outcome run =
        run(
            List.of(
                "evaluate",
                "--prompts",
                folder.resolve("prompts.txt").toString(),
                "--seeds",
                "3",
                "--reference-cfg",
                "1",
                "--methods",
                folder.resolve("methods.txt").toString(),
                "--method",
                "all the same: schedule=base-50",
                "-o",
                output.toString()));
    assertEquals(0, run.exitCode(), run.err());
    assertEquals(
        List.of("evaluation.json", "evaluation.md", "quality.png", "sheet.png"), names(output));
    String table = Files.readString(output.resolve("evaluation.md"));
    assertTrue(table.contains(run.out()), run.out());
    assertTrue(table.contains("--method 'all the same: schedule=base-50' -o "), table);
    assertTrue(table.contains("| all the same | base, CFG 1 | 50 | 0.000 | 100.00 |"), table);
    JsonNode json = new ObjectMapper().readTree(output.resolve("evaluation.json").toFile());
    assertEquals(3, json.path("seeds").path(0).asInt());
    assertEquals("base/1", json.path("methods").path(0).path("name").asText());
    assertEquals(2, json.path("methods").path(0).path("pictures").size());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          2 | --method=a                                          | "a" is not a method
          2 | --method=a:_schedule=base-0                         | must be
          2 | --method=a:_schedule=base-2 --method=a:_schedule=base-3 | two methods are named "a"
          2 | --method=a:_preset=best                             | "preset=best": the model has no
          2 | --seeds=one                                         | one
          2 | --reference-cfg=0.5                                 | cfg 0.5
          2 | --samples=-1                                        | samples -1
          2 | --pictures=DIR/pictures                             | none of the 1 pictures
          1 | --methods=DIR/bad.txt                               | bad.txt: line 2: key "cgf"
          1 | --methods=DIR/nothing.txt                           | no such file
          1 | --methods=DIR/empty.txt                             | has no method
          1 | --prompts=DIR/empty.txt                             | has no prompt
          1 | --prompts=DIR/nothing.txt                           | no such file
          1 | --pictures=DIR/nothing                              | is not a folder of pictures
          """)
  void refusesBeforeItWorks(int exitCode, String options, String part) throws IOException {
    Path pictures = Files.createDirectory(folder.resolve("pictures"));
    Files.write(pictures.resolve("owl.png"), png());
    Path output = folder.resolve("results");
    List<String> arguments = new ArrayList<>(List.of("evaluate", "-o", output.toString()));
    if (!options.contains("--prompts")) {
      arguments.add("--prompts=" + folder.resolve("prompts.txt"));
    }
    for (String option : options.split(" ", -1)) {
      arguments.add(option.replace('_', ' ').replace("DIR", folder.toString()));
    }
    Outcome run = run(arguments);
    assertEquals(exitCode, run.exitCode(), run.err());
    assertTrue(run.err().contains(part), run.err());
    assertFalse(run.err().contains("\tat "), run.err());
    assertFalse(Files.exists(output), "something was written");
  }

  private static byte[] png() throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ImageIO.write(new BufferedImage(4, 4, BufferedImage.TYPE_INT_RGB), "png", out);
    return out.toByteArray();
  }

  @Test
  void aModelWithoutPromptsNeedsSome() throws IOException {
    Path model = Files.createDirectory(folder.resolve("model"));
    Outcome run =
        run(List.of("evaluate", "--model=" + model, "-o", folder.resolve("results").toString()));
    assertEquals(2, run.exitCode(), run.err());
    assertTrue(run.err().contains("has no prompts.txt; give a list of prompts"), run.err());
  }

  @Test
  void theOutputIsAFolderThatCanBeWrittenTo() throws IOException {
    Path file = folder.resolve("prompts.txt");
    Outcome run = run(List.of("evaluate", "--prompts=" + file, "-o", file.toString()));
    assertEquals(2, run.exitCode(), run.err());
    assertTrue(run.err().contains("is a file; name a folder"), run.err());
    Path taken = folder.resolve("taken");
    Files.createDirectories(taken.resolve("quality.png"));
    run = run(List.of("evaluate", "--prompts=" + file, "-o", taken.toString()));
    assertEquals(1, run.exitCode(), run.err());
    assertTrue(run.err().contains("quality.png is a folder"), run.err());
  }

  @Test
  void aMissingAdapterIsFoundBeforeDrawing() throws IOException {
    Path output = folder.resolve("results");
    Outcome run =
        run(
            List.of(
                "evaluate",
                "--prompts=" + folder.resolve("prompts.txt"),
                "--method=a: schedule=glance slow=none.safetensors fast=none.safetensors",
                "-o",
                output.toString()));
    assertEquals(1, run.exitCode(), run.err());
    assertTrue(run.err().contains("none.safetensors"), run.err());
    assertEquals(List.of(), names(output));
  }
}
