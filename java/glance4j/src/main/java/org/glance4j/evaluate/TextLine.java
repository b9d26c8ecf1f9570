package org.glance4j.evaluate;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.glance4j.ModelFormatException;

/**
 * A line of a text file.
 *
 * @param number from 1
 * @param text without white space at its ends
 */
record TextLine(int number, String text) {
  /** The lines of a UTF-8 file that are neither empty nor comments, which begin with {@code #}. */
  static List<TextLine> read(Path file, String kind) {
    List<TextLine> kept = new ArrayList<>();
    int number = 0;
    for (String line : all(file, kind)) {
      number++;
      String text = line.strip();
      if (!text.isEmpty() && !text.startsWith("#")) {
        kept.add(new TextLine(number, text));
      }
    }
    if (kept.isEmpty()) {
      throw new ModelFormatException(file + ": has no " + kind + "; write one a line");
    }
    return kept;
  }

  private static List<String> all(Path file, String kind) {
    try {
      return Files.readAllLines(file, StandardCharsets.UTF_8);
    } catch (NoSuchFileException e) {
      throw new ModelFormatException(file + ": no such file of " + kind + "s", e);
    } catch (CharacterCodingException e) {
      throw new ModelFormatException(file + ": is not a UTF-8 text file", e);
    } catch (IOException e) {
      throw new ModelFormatException(file + ": cannot be read: " + e.getMessage(), e);
    }
  }
}
