package org.glance4j.model;

/**
 * A picture's size in pixels.
 *
 * @param width at least 1
 * @param height at least 1
 */
public record ImageSize(int width, int height) {
  /** Larger sides are refused: no model is made for them, and arithmetic would overflow. */
  private static final int MAX_SIDE = 16384;

  /**
   * Checks that both sides are multiples of {@code multiple}, and says the nearest that are.
   *
   * @throws IllegalArgumentException otherwise
   */
  public void requireMultipleOf(int multiple) {
    requireMultiple("width", width, multiple);
    requireMultiple("height", height, multiple);
  }

  private static void requireMultiple(String name, int value, int multiple) {
    if (value < multiple || value > MAX_SIDE) {
      throw new IllegalArgumentException(
          "%s %d must be in %d...%d".formatted(name, value, multiple, MAX_SIDE));
    }
    if (value % multiple != 0) {
      int below = value / multiple * multiple;
      throw new IllegalArgumentException(
          "%s %d must be a multiple of %d; try %d or %d"
              .formatted(name, value, multiple, below, below + multiple));
    }
  }

  @Override
  public String toString() {
    return width + "x" + height;
  }
}
