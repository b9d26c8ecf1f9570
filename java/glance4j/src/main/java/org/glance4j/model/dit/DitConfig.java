package org.glance4j.model.dit;

import java.util.List;
import org.glance4j.weights.ConfigFile;

/** What the configurations of diffusion transformers have in common. */
public final class DitConfig {
  /** Latents are packed in patches of 2 x 2. */
  public static final int PATCH = 4;

  /** Position axes: an unused one (time), row, column. */
  private static final int AXES = 3;

  private DitConfig() {}

  /** {@code in_channels}: the width of a packed latent token, by default 64. */
  public static int inChannels(ConfigFile json) {
    int inChannels = json.positiveIntOr("in_channels", 64);
    if (inChannels % PATCH != 0) {
      throw json.error("in_channels", inChannels + " is not a multiple of " + PATCH);
    }
    return inChannels;
  }

  /** Checks that {@code key} is missing or {@code expected}. */
  public static void requireOnly(ConfigFile json, String key, int expected) {
    int actual = json.positiveIntOr(key, expected);
    if (actual != expected) {
      throw json.error(key, actual + " is not supported; only " + expected + " is");
    }
  }

  /**
   * {@code axes_dims_rope}: how many of a head's channels rotate with each of the three position
   * axes, by default 16, 56, 56.
   */
  public static List<Integer> ropeAxes(ConfigFile json, int headDim) {
    String key = "axes_dims_rope";
    List<Integer> axes = json.has(key) ? json.positiveInts(key) : List.of(16, 56, 56);
    if (axes.size() != AXES) {
      throw json.error(key, axes + " must have " + AXES + " entries");
    }
    if (axes.stream().anyMatch(dim -> dim % 2 != 0)) {
      throw json.error(key, axes + " has an odd entry; channels rotate in pairs");
    }
    int sum = axes.stream().mapToInt(Integer::intValue).sum();
    if (sum != headDim) {
      throw json.error(key, axes + " sums to " + sum + ", not to attention_head_dim " + headDim);
    }
    return axes;
  }
}
