package org.glance4j;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * A model folder, weight file, adapter or configuration that cannot be used as it is.
 *
 * <p>The message names the file, the tensor or key where there is one, the reason, and what would
 * fix it.
 */
public final class ModelFormatException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * @param message names the file, the item in it, the reason and the fix
   */
  public ModelFormatException(String message) {
    super(message);
  }

  /**
   * @param message names the file, the item in it, the reason and the fix
   * @param cause what was caught
   */
  public ModelFormatException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }

  /** The usual form of the message: {@code FILE: ITEM: REASON}. */
  public static ModelFormatException in(Path file, String item, String reason) {
    return new ModelFormatException(file + ": " + item + ": " + reason);
  }
}
