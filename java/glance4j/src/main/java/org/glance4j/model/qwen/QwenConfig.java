package org.glance4j.model.qwen;

import java.nio.file.Path;
import java.util.List;
import org.glance4j.ModelFormatException;
import org.glance4j.model.dit.DitConfig;
import org.glance4j.weights.ConfigFile;

/**
 * The architecture of a Qwen-Image transformer, from the {@code config.json} of a {@code
 * QwenImageTransformer2DModel}. Keys that are missing there have Qwen-Image's values, as in
 * diffusers.
 *
 * @param inChannels width of a packed latent token; 4 times the VAE's latent channels
 * @param layers number of blocks
 * @param headDim width of one attention head
 * @param heads number of attention heads
 * @param contextDim width of the text encoder's token vectors
 * @param ropeAxes how many of a head's channels rotate with each of the three position axes
 */
public record QwenConfig(
    int inChannels, int layers, int headDim, int heads, int contextDim, List<Integer> ropeAxes) {
  /** Switches of later models of this class: edited pictures as inputs, layers, other inputs. */
  private static final List<String> UNSUPPORTED =
      List.of("guidance_embeds", "zero_cond_t", "use_additional_t_cond", "use_layer3d_rope");

  private static final int PATCH_SIDE = 2;

  /** Copies the list. */
  public QwenConfig {
    ropeAxes = List.copyOf(ropeAxes);
  }

  /**
   * Reads and checks {@code file}.
   *
   * @throws ModelFormatException naming the key, its value and what is expected
   */
  public static QwenConfig read(Path file) {
    ConfigFile json = ConfigFile.read(file);
    json.requireClass("QwenImageTransformer2DModel");
    for (String key : UNSUPPORTED) {
      if (json.boolOr(key, false)) {
        throw json.error(key, "true is not supported; only false is");
      }
    }
    int inChannels = DitConfig.inChannels(json);
    DitConfig.requireOnly(json, "patch_size", PATCH_SIDE);
    DitConfig.requireOnly(json, "out_channels", inChannels / DitConfig.PATCH);
    int headDim = json.positiveIntOr("attention_head_dim", 128);
    return new QwenConfig(
        inChannels,
        json.positiveIntOr("num_layers", 60),
        headDim,
        json.positiveIntOr("num_attention_heads", 24),
        json.positiveIntOr("joint_attention_dim", 3584),
        DitConfig.ropeAxes(json, headDim));
  }

  /** Width of the hidden state: all heads side by side. */
  public int width() {
    return heads * headDim;
  }

  /** How many vectors of {@link #width} the adaptive layer norms read in one forward pass. */
  public int modulations() {
    return 12 * layers + 2;
  }

  /** Channels of the latents before packing. */
  public int latentChannels() {
    return inChannels / DitConfig.PATCH;
  }
}
