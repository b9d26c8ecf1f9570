package org.glance4j;

import org.jspecify.annotations.Nullable;

/**
 * A model or a generation needs more memory than the device has free. A {@link Glance} that throws
 * this stays usable: a smaller request may fit.
 */
public final class DeviceOutOfMemoryException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * @param message says what needs more memory than there is, with figures where they are known
   * @param cause the allocator's own error, if it came to that
   */
  public DeviceOutOfMemoryException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}
