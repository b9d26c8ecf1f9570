package org.glance4j.kernel;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/** Runs a class's main method in a JVM of its own, for what is settled once in a JVM's life. */
final class ChildJvm {
  private ChildJvm() {}

  /** The exit code, and both output streams together. */
  record Result(int exitCode, String output) {}

  /** Runs {@code main} on this class path's entries that {@code keep} accepts. */
  static Result run(Class<?> main, Predicate<String> keep, List<String> jvmArguments)
      throws IOException, InterruptedException {
    String classPath =
        Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator, -1))
            .filter(keep)
            .collect(Collectors.joining(File.pathSeparator));
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(jvmArguments);
    command.addAll(
        List.of(
            "-Xmx256m", "--enable-native-access=ALL-UNNAMED", "-cp", classPath, main.getName()));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return new Result(process.waitFor(), output);
  }
}
