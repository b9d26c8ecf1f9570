package org.glance4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Ctrl-C in mid-step. */
@EnabledOnOs({OS.LINUX, OS.MAC})
class InterruptTest {
  private static final int SIGINT_EXIT_CODE = 130;

  @TempDir Path folder;

  @Test
  @Timeout(value = 60, unit = TimeUnit.SECONDS)
  void interruptEndsCleanlyWithNothingWritten() throws IOException, InterruptedException {
    Path log = Files.createTempFile("glance", ".log");
    Path pictures = Files.createDirectory(folder.resolve("pictures"));
    Process process =
        ChildMain.start(
            log,
            List.of("-Dorg.slf4j.simpleLogger.log.org.glance4j=debug"),
            "generate",
            "red apple",
            "--steps=1000",
            "--count=1000",
            "-o",
            pictures.resolve("a.png").toString());
    awaitText(process, log, "step ");
    new ProcessBuilder("kill", "-INT", String.valueOf(process.pid())).start().waitFor();
    assertTrue(process.waitFor(20, TimeUnit.SECONDS), "still running");
    String output = Files.readString(log, StandardCharsets.UTF_8);
    assertEquals(SIGINT_EXIT_CODE, process.exitValue(), output);
    assertTrue(!output.contains("SIGSEGV") && !output.contains("\tat "), output);
    try (Stream<Path> left = Files.list(pictures)) {
      assertEquals(List.of(), left.toList());
    }
    Files.delete(log);
  }

  private static void awaitText(Process process, Path log, String text)
      throws IOException, InterruptedException {
    while (!Files.readString(log, StandardCharsets.UTF_8).contains(text)) {
      assertTrue(process.isAlive(), Files.readString(log, StandardCharsets.UTF_8));
      Thread.sleep(50);
    }
  }
}
