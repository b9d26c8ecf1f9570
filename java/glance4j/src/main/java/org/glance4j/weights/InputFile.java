package org.glance4j.weights;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import org.glance4j.ModelFormatException;

/** Checks and messages that every file of a model shares. */
final class InputFile {
  private static final int MAX_SHOWN_CHARS = 200;

  private static final int MAX_SHOWN_NAMES = 20;

  private InputFile() {}

  /** Fails unless {@code file} is a readable regular file or a link to one. */
  static void require(Path file) {
    if (Files.isRegularFile(file)) {
      if (!Files.isReadable(file)) {
        throw new ModelFormatException(
            file + ": this process may not read it; change its permissions");
      }
      return;
    }
    // Opening a pipe would wait for a writer, so what is not a file is never opened.
    if (Files.exists(file)) {
      throw new ModelFormatException(file + ": is not a regular file");
    }
    if (Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
      throw new ModelFormatException(
          file + ": is a link to a file that is not there; download it again");
    }
    throw new ModelFormatException(file + ": no such file");
  }

  /** The error for an {@code IOException} on {@code file}. */
  static ModelFormatException unreadable(Path file, IOException e) {
    return new ModelFormatException(file + ": cannot be read: " + e.getMessage(), e);
  }

  /** {@code text} cut to what a message can bear. */
  static String shorten(String text) {
    return text.length() <= MAX_SHOWN_CHARS
        ? text
        : text.substring(0, MAX_SHOWN_CHARS) + "... (" + text.length() + " characters)";
  }

  /** {@code names} with commas between, cut to what a message can bear. */
  static String join(List<String> names) {
    int shown = Math.min(names.size(), MAX_SHOWN_NAMES);
    String joined = String.join(", ", names.subList(0, shown));
    return shown == names.size() ? joined : joined + " and " + (names.size() - shown) + " more";
  }
}
