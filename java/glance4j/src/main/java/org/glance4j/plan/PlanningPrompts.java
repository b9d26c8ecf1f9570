package org.glance4j.plan;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import org.glance4j.ModelFormatException;

/** Prompts to plan a schedule on. */
public final class PlanningPrompts {
  /** The file of a model folder that may hold some. */
  static final String FILE_NAME = "prompts.txt";

  /** How many are enough: more cost time and change the result little. */
  static final int COUNT = 8;

  /** Things that most models can draw, as unlike each other as may be. */
  private static final List<String> GENERAL =
      List.of(
          "red apple",
          "cat face",
          "sailboat",
          "sunflower",
          "office building",
          "bicycle",
          "snowman",
          "musical notes");

  private PlanningPrompts() {}

  /**
   * Reads a UTF-8 text file of one prompt a line; empty lines are skipped.
   *
   * @throws ModelFormatException if it cannot be read or holds none
   */
  public static List<String> read(Path file) {
    List<String> prompts;
    try {
      prompts =
          Files.readAllLines(file, StandardCharsets.UTF_8).stream()
              .map(String::strip)
              .filter(line -> !line.isEmpty())
              .toList();
    } catch (NoSuchFileException e) {
      throw new ModelFormatException(file + ": no such file of prompts", e);
    } catch (CharacterCodingException e) {
      throw new ModelFormatException(file + ": is not a UTF-8 text file", e);
    } catch (IOException e) {
      throw new ModelFormatException(file + ": cannot be read: " + e.getMessage(), e);
    }
    if (prompts.isEmpty()) {
      throw ModelFormatException.in(file, "content", "has no prompts; write one a line");
    }
    return prompts;
  }

  /**
   * Eight prompts for a model: the first of its folder's {@code prompts.txt}, or, where there is no
   * such file, things that most models can draw.
   *
   * @throws ModelFormatException if the file is there but cannot be used
   */
  public static List<String> of(Path modelFolder) {
    Path file = modelFolder.resolve(FILE_NAME);
    return Files.exists(file) ? read(file).stream().limit(COUNT).toList() : GENERAL;
  }
}
