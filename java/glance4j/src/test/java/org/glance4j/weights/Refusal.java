package org.glance4j.weights;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.Objects;
import org.glance4j.ModelFormatException;
import org.junit.jupiter.api.function.Executable;

/** Asserts that something is refused with a message of the usual form. */
final class Refusal {
  private Refusal() {}

  /** One line that begins with {@code file} and has every one of {@code parts}. */
  static void assertRefused(Path file, Executable action, String... parts) {
    String message =
        Objects.requireNonNull(assertThrows(ModelFormatException.class, action).getMessage());
    assertTrue(message.startsWith(file + ": "), message);
    assertEquals(1, message.lines().count(), message);
    for (String part : parts) {
      assertTrue(message.contains(part), () -> "no \"" + part + "\" in: " + message);
    }
  }
}
