package org.glance4j.evaluate;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** Lists of prompts. */
public final class Prompts {
  /** The file of a model folder that lists the prompts to evaluate it on. */
  private static final String OF_MODEL = "prompts.txt";

  private Prompts() {}

  /**
   * Reads a UTF-8 file, one prompt a line; lines that are empty or begin with {@code #} are
   * skipped.
   *
   * @throws org.glance4j.ModelFormatException if the file cannot be read or has no prompt
   */
  public static List<String> read(Path file) {
    return TextLine.read(file, "prompt").stream().map(TextLine::text).toList();
  }

  /** The prompts that a model's folder lists in {@code prompts.txt}; empty if it has none. */
  public static Optional<List<String>> of(Path modelFolder) {
    Path file = modelFolder.resolve(OF_MODEL);
    return Files.exists(file) ? Optional.of(read(file)) : Optional.empty();
  }
}
