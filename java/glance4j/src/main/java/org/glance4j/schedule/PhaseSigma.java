package org.glance4j.schedule;

import org.jspecify.annotations.Nullable;

/**
 * One entry of a custom schedule: the adapter of a step and the noise level it starts from. Its
 * text form is {@code slow 0.95}, or {@code slow 0.95 cfg 2.4} with a guidance of its own.
 *
 * @param phase which adapter serves the step
 * @param sigma above 0 and at most 1
 * @param cfg the step's classifier-free guidance, at least 1, or null for the request's: see {@link
 *     Step#cfg()}
 */
public record PhaseSigma(Phase phase, float sigma, @Nullable Float cfg) {
  private static final String CFG = "cfg";

  /** Checks the ranges. */
  public PhaseSigma {
    if (!(sigma > 0 && sigma <= 1)) {
      throw new IllegalArgumentException("sigma " + sigma + " must be above 0 and at most 1");
    }
    if (cfg != null && !(cfg >= 1 && Float.isFinite(cfg))) {
      throw new IllegalArgumentException("cfg " + cfg + " must be a finite number of at least 1");
    }
  }

  /** An entry without a guidance of its own. */
  public PhaseSigma(Phase phase, float sigma) {
    this(phase, sigma, null);
  }

  /**
   * Reads the text form.
   *
   * @throws IllegalArgumentException if {@code text} is not one
   */
  static PhaseSigma parse(String text) {
    String[] words = text.strip().split("\\s+", -1);
    boolean guided = words.length == 4 && words[2].equals(CFG);
    if (words.length != 2 && !guided) {
      throw new IllegalArgumentException(
          "expected a phase and a sigma, as in \"slow 0.95\" or \"slow 0.95 cfg 2.4\"");
    }
    return new PhaseSigma(
        Phase.parse(words[0]), parse("sigma", words[1]), guided ? parse(CFG, words[3]) : null);
  }

  private static float parse(String what, String text) {
    try {
      return Float.parseFloat(text);
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(what + " \"" + text + "\" is not a number", e);
    }
  }

  @Override
  public String toString() {
    return phase + " " + sigma + (cfg == null ? "" : " " + CFG + " " + cfg);
  }
}
