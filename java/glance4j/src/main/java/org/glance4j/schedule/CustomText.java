package org.glance4j.schedule;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.glance4j.ModelFormatException;

/** The two text forms of a custom schedule: a file, and a list in one line. */
final class CustomText {
  private CustomText() {}

  static ScheduleSpec read(Path file) {
    List<String> lines = readLines(file);
    List<PhaseSigma> steps = new ArrayList<>();
    for (int i = 0; i < lines.size(); i++) {
      String line = lines.get(i).replaceFirst("#.*", "").strip();
      if (!line.isEmpty()) {
        try {
          add(steps, line);
        } catch (IllegalArgumentException e) {
          throw ModelFormatException.in(
              file, "line " + (i + 1), "\"" + line + "\": " + e.getMessage());
        }
      }
    }
    try {
      return new CustomSpec(steps);
    } catch (IllegalArgumentException e) {
      throw ModelFormatException.in(file, "content", "is " + e.getMessage());
    }
  }

  private static List<String> readLines(Path file) {
    try {
      return Files.readAllLines(file, StandardCharsets.UTF_8);
    } catch (NoSuchFileException e) {
      throw new ModelFormatException(file + ": no such schedule file", e);
    } catch (CharacterCodingException e) {
      throw new ModelFormatException(file + ": is not a UTF-8 text file", e);
    } catch (IOException e) {
      throw new ModelFormatException(file + ": cannot be read: " + e.getMessage(), e);
    }
  }

  /** Reads {@code slow 1.0, fast 0.6}, which stands between the brackets. */
  static ScheduleSpec parseInline(String list) {
    List<PhaseSigma> steps = new ArrayList<>();
    for (String entry : list.split(",", -1)) {
      try {
        add(steps, entry);
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException(
            "custom schedule: step %d, \"%s\": %s"
                .formatted(steps.size() + 1, entry.strip(), e.getMessage()),
            e);
      }
    }
    return new CustomSpec(steps);
  }

  /** Adds one entry; checking the order here too gives its error a place in the text. */
  private static void add(List<PhaseSigma> steps, String entry) {
    PhaseSigma next = PhaseSigma.parse(entry);
    if (!steps.isEmpty()) {
      CustomSpec.requireBelow(steps.get(steps.size() - 1), next);
    }
    steps.add(next);
  }
}
