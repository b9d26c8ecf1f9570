package org.glance4j.model.flux;

import java.nio.file.Path;
import java.util.List;
import org.glance4j.ModelFormatException;
import org.glance4j.weights.ConfigFile;

/**
 * The architecture of a FLUX transformer, from the {@code config.json} of a {@code
 * FluxTransformer2DModel}. Keys that are missing there have FLUX.1-dev's values, as in diffusers.
 *
 * @param inChannels width of a packed latent token; 4 times the VAE's latent channels
 * @param layers number of double blocks
 * @param singleLayers number of single blocks
 * @param headDim width of one attention head
 * @param heads number of attention heads
 * @param contextDim width of the text encoder's token vectors
 * @param pooledDim width of the pooled text vector
 * @param guidanceEmbeds true if the distilled guidance is an input of the model
 * @param ropeAxes how many of a head's channels rotate with each of the three position axes
 */
public record FluxConfig(
    int inChannels,
    int layers,
    int singleLayers,
    int headDim,
    int heads,
    int contextDim,
    int pooledDim,
    boolean guidanceEmbeds,
    List<Integer> ropeAxes) {
  /** Position axes: an unused one (time), row, column. */
  private static final int AXES = 3;

  /** Latents are packed in patches of 2 x 2. */
  private static final int PATCH = 4;

  /** Copies the list. */
  public FluxConfig {
    ropeAxes = List.copyOf(ropeAxes);
  }

  /**
   * Reads and checks {@code file}.
   *
   * @throws ModelFormatException naming the key, its value and what is expected
   */
  public static FluxConfig read(Path file) {
    ConfigFile json = ConfigFile.read(file);
    json.requireClass("FluxTransformer2DModel");
    int inChannels = json.positiveIntOr("in_channels", 64);
    if (inChannels % PATCH != 0) {
      throw json.error("in_channels", inChannels + " is not a multiple of " + PATCH);
    }
    requireOnly(json, "out_channels", inChannels);
    requireOnly(json, "patch_size", 1);
    int headDim = json.positiveIntOr("attention_head_dim", 128);
    return new FluxConfig(
        inChannels,
        json.positiveIntOr("num_layers", 19),
        json.positiveIntOr("num_single_layers", 38),
        headDim,
        json.positiveIntOr("num_attention_heads", 24),
        json.positiveIntOr("joint_attention_dim", 4096),
        json.positiveIntOr("pooled_projection_dim", 768),
        json.boolOr("guidance_embeds", false),
        ropeAxes(json, headDim));
  }

  private static void requireOnly(ConfigFile json, String key, int expected) {
    int actual = json.positiveIntOr(key, expected);
    if (actual != expected) {
      throw json.error(key, actual + " is not supported; only " + expected + " is");
    }
  }

  private static List<Integer> ropeAxes(ConfigFile json, int headDim) {
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

  /** Width of the hidden state: all heads side by side. */
  public int width() {
    return heads * headDim;
  }

  /** How many vectors of {@link #width} the adaptive layer norms read in one forward pass. */
  public int modulations() {
    return 12 * layers + 3 * singleLayers + 2;
  }

  /** Channels of the latents before packing. */
  public int latentChannels() {
    return inChannels / PATCH;
  }
}
