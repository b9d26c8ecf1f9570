package org.glance4j.reference;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.function.Executable;

/** Checks that a call fails and that its message says what it must. */
public final class ErrorAssert {
  private ErrorAssert() {}

  /** {@code call} throws {@code type} with a message that contains every one of {@code parts}. */
  public static void assertError(
      Class<? extends Exception> type, Executable call, String... parts) {
    String message = String.valueOf(assertThrows(type, call).getMessage());
    for (String part : parts) {
      assertTrue(message.contains(part), "expected \"" + part + "\" in: " + message);
    }
  }
}
