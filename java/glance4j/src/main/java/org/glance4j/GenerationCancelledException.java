package org.glance4j;

/** A generation was stopped between two steps, by its future or by closing its {@link Glance}. */
public final class GenerationCancelledException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * @param message says who stopped it and after which step
   */
  public GenerationCancelledException(String message) {
    super(message);
  }
}
