package org.glance4j.schedule;

/**
 * One entry of a custom schedule: the adapter of a step and the noise level it starts from. Its
 * text form is {@code slow 0.95}.
 *
 * @param phase which adapter serves the step
 * @param sigma above 0 and at most 1
 */
public record PhaseSigma(Phase phase, float sigma) {
  /** Checks the range. */
  public PhaseSigma {
    if (!(sigma > 0 && sigma <= 1)) {
      throw new IllegalArgumentException("sigma " + sigma + " must be above 0 and at most 1");
    }
  }

  /**
   * Reads the text form.
   *
   * @throws IllegalArgumentException if {@code text} is not one
   */
  static PhaseSigma parse(String text) {
    String[] words = text.strip().split("\\s+", -1);
    if (words.length != 2) {
      throw new IllegalArgumentException("expected a phase and a sigma, as in \"slow 0.95\"");
    }
    return new PhaseSigma(Phase.parse(words[0]), parseSigma(words[1]));
  }

  private static float parseSigma(String text) {
    try {
      return Float.parseFloat(text);
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException("sigma \"" + text + "\" is not a number", e);
    }
  }

  @Override
  public String toString() {
    return phase + " " + sigma;
  }
}
