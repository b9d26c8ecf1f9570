package org.glance4j.schedule;

import org.glance4j.weights.ConfigFile;

/**
 * How a model's scheduler turns evenly spaced sigmas into its own: {@code scheduler_config.json} of
 * class {@code FlowMatchEulerDiscreteScheduler}. Immutable.
 *
 * <p>With {@code s} evenly spaced from 1 to 1/n and {@code mu} linear in the number of image
 * tokens:
 *
 * <ul>
 *   <li>static: {@code sigma = shift s / (1 + (shift - 1) s)}
 *   <li>exponential: {@code sigma = e^mu / (e^mu + 1/s - 1)}
 *   <li>linear: {@code sigma = mu / (mu + 1/s - 1)}
 * </ul>
 *
 * then, where a terminal is set, {@code 1 - sigma} is scaled so that the last sigma is the
 * terminal. {@code s} is spaced in f64 and rounded to f32, {@code mu} is f64, everything else is
 * f32: so the numbers are those of diffusers, bit for bit.
 *
 * @param kind which formula
 * @param shift of the static formula, above 0
 * @param baseShift mu at {@code baseTokens}
 * @param maxShift mu at {@code maxTokens}
 * @param baseTokens an image size in tokens
 * @param maxTokens another
 * @param terminal the last sigma, in [0, 1); 0 means no stretch
 * @param trainTimesteps the timestep of sigma 1, usually 1000
 */
public record SigmaShift(
    Kind kind,
    double shift,
    double baseShift,
    double maxShift,
    int baseTokens,
    int maxTokens,
    double terminal,
    int trainTimesteps) {

  /** The formula. */
  public enum Kind {
    /** One shift for every image size, as in FLUX.1-schnell. */
    STATIC,
    /** By image size, as in FLUX.1-dev and Qwen-Image. */
    EXPONENTIAL,
    /** By image size, without the exponential. */
    LINEAR
  }

  /** Reads a {@code scheduler_config.json}; an option it cannot honour is an error. */
  public static SigmaShift read(ConfigFile config) {
    config.requireClass("FlowMatchEulerDiscreteScheduler");
    for (String option :
        new String[] {
          "use_karras_sigmas",
          "use_exponential_sigmas",
          "use_beta_sigmas",
          "invert_sigmas",
          "stochastic_sampling"
        }) {
      if (config.boolOr(option, false)) {
        throw config.error(option, "true is not supported; set it to false");
      }
    }
    SigmaShift shift =
        new SigmaShift(
            readKind(config),
            config.numberOr("shift", 1),
            config.numberOr("base_shift", 0.5),
            config.numberOr("max_shift", 1.15),
            config.positiveIntOr("base_image_seq_len", 256),
            config.positiveIntOr("max_image_seq_len", 4096),
            config.numberOr("shift_terminal", 0),
            config.positiveIntOr("num_train_timesteps", 1000));
    shift.check(config);
    return shift;
  }

  private static Kind readKind(ConfigFile config) {
    String type = config.stringOr("time_shift_type", "exponential");
    Kind dynamic =
        switch (type) {
          case "exponential" -> Kind.EXPONENTIAL;
          case "linear" -> Kind.LINEAR;
          default ->
              throw config.error(
                  "time_shift_type",
                  "\"" + type + "\" is not supported; use exponential or linear");
        };
    return config.boolOr("use_dynamic_shifting", false) ? dynamic : Kind.STATIC;
  }

  private void check(ConfigFile config) {
    if (kind == Kind.STATIC && shift <= 0) {
      throw config.error("shift", shift + " must be above 0");
    }
    if (kind != Kind.STATIC && maxTokens == baseTokens) {
      throw config.error("max_image_seq_len", maxTokens + " must differ from base_image_seq_len");
    }
    if (terminal < 0 || terminal >= 1) {
      throw config.error("shift_terminal", terminal + " must be at least 0 and below 1");
    }
  }

  /**
   * The shift for an image size.
   *
   * @param imageTokens the length of the packed latents: (height / 16) * (width / 16) for FLUX and
   *     Qwen-Image
   */
  public double mu(int imageTokens) {
    double slope = (maxShift - baseShift) / (maxTokens - baseTokens);
    return imageTokens * slope + (baseShift - slope * baseTokens);
  }

  /** The timestep of {@code sigma}. */
  public float timestep(float sigma) {
    return sigma * trainTimesteps;
  }

  /**
   * The base schedule of {@code steps} steps for an image of {@code imageTokens} tokens.
   *
   * @return {@code steps + 1} sigmas, decreasing, the last one 0
   * @throws IllegalArgumentException if the image is too large for the sigmas to be numbers
   */
  public float[] sigmas(int steps, int imageTokens) {
    if (imageTokens < 1) {
      throw new IllegalArgumentException("imageTokens " + imageTokens + " must be at least 1");
    }
    return sigmas(steps, mu(imageTokens));
  }

  float[] sigmas(int steps, double mu) {
    float[] sigmas = new float[steps + 1];
    double spacing = steps == 1 ? 0 : (1.0 / steps - 1) / (steps - 1);
    for (int i = 0; i < steps; i++) {
      double even = i == steps - 1 ? 1.0 / steps : i * spacing + 1;
      sigmas[i] = shifted((float) even, mu);
      if (!(sigmas[i] > 0 && sigmas[i] <= 1)) {
        throw new IllegalArgumentException(
            "mu " + mu + " gives sigma " + sigmas[i] + "; make the image smaller");
      }
    }
    stretchToTerminal(sigmas, steps);
    return sigmas;
  }

  /**
   * The sigma that is for an image of {@code imageTokens} tokens what {@code sigma} is for one of
   * {@code madeForTokens}: both have the same place in the two sizes' base schedules. Larger images
   * need more noise to be hidden as well, hence larger sigmas.
   *
   * <p>With {@code w} for {@code e^mu} (exponential) or {@code mu} (linear), the formula above says
   * {@code sigma / (1 - sigma) = w s / (1 - s)}; so the odds of sigma are multiplied by the ratio
   * of the two {@code w}. Where a terminal is set this is done without the stretch of a 50-step
   * schedule, and what is at or below the terminal stays. A static shift moves nothing.
   *
   * @param sigma above 0 and at most 1
   */
  float resized(float sigma, int madeForTokens, int imageTokens) {
    if (kind == Kind.STATIC || madeForTokens == imageTokens || sigma <= terminal) {
      return sigma;
    }
    double from = weight(mu(madeForTokens));
    double to = weight(mu(imageTokens));
    double raw = 1 - (1 - sigma) * stretch(from);
    double moved = raw * to / (raw * to + (1 - raw) * from);
    return (float) (1 - (1 - moved) / stretch(to));
  }

  private double weight(double mu) {
    return kind == Kind.LINEAR ? mu : StrictMath.exp(mu);
  }

  /** By how much the terminal stretches the distance from 1 in a 50-step base schedule. */
  private double stretch(double weight) {
    double last = weight / (weight + (GlanceSpec.BASE_STEPS - 1));
    return terminal == 0 ? 1 : (1 - last) / (1 - terminal);
  }

  private float shifted(float even, double mu) {
    return switch (kind) {
      case STATIC -> (float) shift * even / (1 + (float) (shift - 1) * even);
      case EXPONENTIAL -> pull((float) StrictMath.exp(mu), even);
      case LINEAR -> pull((float) mu, even);
    };
  }

  private static float pull(float weight, float even) {
    return weight / (weight + (1 / even - 1));
  }

  private void stretchToTerminal(float[] sigmas, int steps) {
    float fromOne = 1 - sigmas[steps - 1];
    // A schedule of one step begins and ends at 1: there is nothing to stretch.
    if (terminal == 0 || fromOne == 0) {
      return;
    }
    float scale = fromOne / (float) (1 - terminal);
    for (int i = 0; i < steps; i++) {
      sigmas[i] = 1 - (1 - sigmas[i]) / scale;
    }
  }
}
