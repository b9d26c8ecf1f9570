package org.glance4j.model.text;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.function.Executable;

/** Checks that something is refused with an error that says why. */
public final class Refusal {
  private Refusal() {}

  /** {@code action} throws {@code type}, and its message contains every one of {@code parts}. */
  public static void assertRefused(
      Class<? extends Exception> type, Executable action, String... parts) {
    String message = String.valueOf(assertThrows(type, action).getMessage());
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }
}
