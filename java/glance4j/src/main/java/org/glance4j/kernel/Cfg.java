package org.glance4j.kernel;

/**
 * How classifier-free guidance combines the velocities of the prompt and of the negative prompt.
 *
 * @param mode the formula
 * @param scale {@code g}; not used by {@link Mode#NONE}
 */
public record Cfg(Mode mode, float scale) {
  /** The formulas. */
  public enum Mode {
    /** {@code v = v_pos}: one evaluation a step. */
    NONE,
    /** {@code v = v_neg + g * (v_pos - v_neg)}. */
    PLAIN,
    /**
     * PLAIN, then each token's vector scaled to the Euclidean norm of its {@code v_pos}, as
     * Qwen-Image does.
     */
    RESCALED
  }

  /** No classifier-free guidance. */
  public static final Cfg NONE = new Cfg(Mode.NONE, 1);

  /** Checks the scale. */
  public Cfg {
    if (!Float.isFinite(scale)) {
      throw new IllegalArgumentException("the CFG scale must be finite, not " + scale);
    }
  }

  /**
   * True if the negative prompt's velocity has no part in it: without a formula, or with scale 1.
   */
  public boolean isOff() {
    return mode == Mode.NONE || scale == 1;
  }

  /** The same formula with another scale. */
  public Cfg at(float otherScale) {
    return otherScale == scale ? this : new Cfg(mode, otherScale);
  }

  /** The plain formula with scale {@code g}. */
  public static Cfg plain(float scale) {
    return new Cfg(Mode.PLAIN, scale);
  }

  /** The formula that keeps each token's norm, with scale {@code g}. */
  public static Cfg rescaled(float scale) {
    return new Cfg(Mode.RESCALED, scale);
  }
}
