package org.glance4j.model.flux;

import java.nio.file.Path;
import java.util.List;
import org.glance4j.ModelFormatException;
import org.glance4j.model.dit.DitConfig;
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
    int inChannels = DitConfig.inChannels(json);
    DitConfig.requireOnly(json, "out_channels", inChannels);
    DitConfig.requireOnly(json, "patch_size", 1);
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
        DitConfig.ropeAxes(json, headDim));
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
    return inChannels / DitConfig.PATCH;
  }
}
