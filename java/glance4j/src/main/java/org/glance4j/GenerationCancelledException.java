package org.glance4j;

/** A generation was stopped between two steps, by its future or by closing its {@link Glance}. */
public final class GenerationCancelledException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * @param message says what stopped it
   */
  public GenerationCancelledException(String message) {
    super(message);
  }
}
