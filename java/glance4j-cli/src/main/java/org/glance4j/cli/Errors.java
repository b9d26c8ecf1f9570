package org.glance4j.cli;

import java.io.PrintWriter;
import java.nio.file.AccessDeniedException;
import java.nio.file.NoSuchFileException;
import picocli.CommandLine;

/** Turns an error into one line on stderr and an exit code. */
final class Errors {
  private Errors() {}

  static int report(Exception error, CommandLine command, boolean verbose) {
    PrintWriter err = command.getErr();
    err.println(command.getColorScheme().errorText("glance: " + message(error)).toString());
    if (verbose) {
      error.printStackTrace(err);
    }
    err.flush();
    return error instanceof IllegalArgumentException
        ? CommandLine.ExitCode.USAGE
        : CommandLine.ExitCode.SOFTWARE;
  }

  private static String message(Exception error) {
    if (error instanceof NoSuchFileException missing) {
      return missing.getFile() + ": no such file";
    }
    if (error instanceof AccessDeniedException denied) {
      return denied.getFile() + ": permission denied";
    }
    String message = error.getMessage();
    if (message == null || message.isBlank()) {
      return error.getClass().getSimpleName() + " (--verbose shows where)";
    }
    // LibTorch appends its C++ stack after the first line.
    return error.getClass() == RuntimeException.class
        ? message.lines().findFirst().orElse(message) + " (--verbose shows more)"
        : message;
  }
}
