package org.glance4j;

import org.jspecify.annotations.Nullable;

/**
 * A generation needs more memory than the device has free. The {@link Glance} stays usable: a
 * smaller request may fit.
 */
public final class DeviceOutOfMemoryException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * @param message says how much is needed, how much there is, and what would fit
   * @param cause the allocator's own error, if it came to that
   */
  public DeviceOutOfMemoryException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}
