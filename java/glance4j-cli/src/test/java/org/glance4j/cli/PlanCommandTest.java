package org.glance4j.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PlanCommandTest {
  @TempDir Path folder;
  private Path prompts = Path.of("");

  @BeforeEach
  void writePrompts() throws IOException {
    prompts = Files.writeString(folder.resolve("prompts.txt"), "red apple\nowl\n");
  }

  private Outcome run(String line) {
    return Outcome.of(line.replace("DIR", folder.toString()).split(" "));
  }

  @Test
  void theFileIsAScheduleAndTheSameEachTime() throws IOException {
    String plan = "plan --steps 3 --cfg 3.5 --seed 5 --rounds 1 --prompts DIR/prompts.txt -o DIR/";
    Outcome first = run(plan + "a.txt --plot DIR/a.png");
    assertEquals(0, first.exitCode(), first.err());
    for (String part :
        List.of("curvature", "own cfgs", "base-3", "slow ends after step", "a.txt")) {
      assertTrue(first.out().contains(part), first.out());
    }
    assertTrue(ImageIO.read(folder.resolve("a.png").toFile()).getWidth() > 100);
    Outcome second = run(plan + "b.txt");
    assertEquals(0, second.exitCode(), second.err());
    assertArrayEquals(
        Files.readAllBytes(folder.resolve("a.txt")), Files.readAllBytes(folder.resolve("b.txt")));
    Outcome picture = run("generate owl -o DIR/owl.png --json --schedule custom:DIR/a.txt");
    assertEquals(0, picture.exitCode(), picture.err());
    assertTrue(picture.out().contains("\"evaluations\":6"), picture.out());
  }

  @Test
  void keepsOneGuidanceIfAsked() throws IOException {
    Outcome plain =
        run(
            "plan --steps 3 --cfg 2.5 --plain-cfg --rounds 0 -o DIR/a.txt --prompts DIR/prompts.txt");
    assertEquals(0, plain.exitCode(), plain.err());
    assertFalse(plain.out().contains("own cfgs"), plain.out());
    assertTrue(plain.out().contains("2.500"), plain.out());
    assertFalse(Files.readString(folder.resolve("a.txt")).contains("slow 1.0 cfg"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "plan",
        "plan -o DIR/a.txt --steps 1",
        "plan -o DIR/a.txt --steps 51",
        "plan -o DIR/a.txt --steps few",
        "plan -o DIR/a.txt --cfg 0.5",
        "plan -o DIR/a.txt --rounds -1",
        "plan -o DIR/a.txt --threads -1",
        "plan -o DIR/a.txt --width 100",
        "plan -o DIR/a.txt --plot DIR/a.txt",
      })
  void badUsageExitsWith2(String line) throws IOException {
    assertRefused(2, line);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "plan -o DIR",
        "plan -o DIR/no/such/folder/a.txt",
        "plan -o DIR/a.txt --plot DIR/no/such/folder/a.png",
        "plan -o DIR/a.txt --model DIR/nothing",
        "plan -o DIR/a.txt --prompts DIR/nothing.txt",
      })
  void failureExitsWith1(String line) throws IOException {
    assertRefused(1, line);
  }

  @Test
  void aFileWithoutPromptsIsRefused() throws IOException {
    Files.writeString(prompts, "\n\n");
    assertRefused(1, "plan -o DIR/a.txt --prompts DIR/prompts.txt");
  }

  private void assertRefused(int exitCode, String line) throws IOException {
    Outcome run = run(line);
    assertEquals(exitCode, run.exitCode(), run.err());
    assertFalse(run.err().isBlank());
    assertFalse(run.err().contains("\tat "), run.err());
    try (Stream<Path> files = Files.list(folder)) {
      assertEquals(List.of(prompts), files.toList());
    }
  }
}
