package org.glance4j;

import org.jspecify.annotations.Nullable;

/**
 * Native code that was asked for cannot be used on this machine.
 *
 * <p>The message says what was looked for, where, what came of it, and what would fix it. The
 * causes of failed attempts are kept as {@linkplain #getSuppressed() suppressed} exceptions.
 */
public final class NativeLoadException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * @param message what was looked for, where, and the fix
   */
  public NativeLoadException(String message) {
    super(message);
  }

  /**
   * @param message what was looked for, where, and the fix
   * @param cause what was caught
   */
  public NativeLoadException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}
