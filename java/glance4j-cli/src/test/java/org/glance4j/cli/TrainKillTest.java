package org.glance4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** SIGKILL at random moments of a training. */
@EnabledOnOs({OS.LINUX, OS.MAC})
class TrainKillTest {
  private static final int KILLS = 10;
  private static final List<String> FLAGS =
      List.of("-XX:TieredStopAtLevel=1", "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0");

  @TempDir Path folder;

  @Test
  @Timeout(value = 10, unit = TimeUnit.MINUTES)
  void goesOnAfterEveryKillAndEndsInTheSameBytes() throws IOException, InterruptedException {
    long start = System.nanoTime();
    finish(train("whole"));
    long wholeMillis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);

    long seed = System.nanoTime();
    Random random = new Random(seed);
    int savedKills = 0;
    for (int i = 0; i < KILLS; i++) {
      Process process = train("killed");
      // The whole run's time, with the JVM's start in it, is what a moment is drawn from.
      if (!process.waitFor((long) (random.nextDouble() * wholeMillis), TimeUnit.MILLISECONDS)) {
        process.destroyForcibly().waitFor();
        savedKills += Files.exists(folder.resolve("killed/training-state.safetensors")) ? 1 : 0;
      }
    }
    finish(train("killed"));
    String what = "seed " + seed + ", " + savedKills + " kills after something was saved";
    for (String file : List.of("slow.safetensors", "fast.safetensors")) {
      Path whole = folder.resolve("whole").resolve(file);
      Path killed = folder.resolve("killed").resolve(file);
      assertEquals(-1, Files.mismatch(whole, killed), file + ": " + what);
    }
    try (Stream<Path> files = Files.list(folder.resolve("killed"))) {
      List<String> names =
          files
              .map(file -> String.valueOf(file.getFileName()))
              .filter(name -> !name.endsWith(".part"))
              .sorted()
              .toList();
      assertEquals(List.of("fast.safetensors", "loss.png", "slow.safetensors"), names, what);
    }
  }

  private Process train(String output) throws IOException {
    return ChildMain.start(
        folder.resolve(output + ".log"),
        FLAGS,
        "train",
        "--target=chord",
        "--caption=red apple",
        "--validation-caption=ghost",
        "--steps=40",
        "--batch=1",
        "--noises=1",
        "--rank=4",
        "--save-every=1",
        "--threads=1",
        "--out=" + folder.resolve(output));
  }

  private void finish(Process process) throws IOException, InterruptedException {
    assertTrue(process.waitFor(5, TimeUnit.MINUTES), "still running");
    String log = "";
    for (String name : List.of("whole.log", "killed.log")) {
      Path file = folder.resolve(name);
      log += Files.exists(file) ? Files.readString(file, StandardCharsets.UTF_8) : "";
    }
    assertEquals(0, process.exitValue(), log);
  }
}
