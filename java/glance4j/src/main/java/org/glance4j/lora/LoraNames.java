package org.glance4j.lora;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Translates the linears' names of adapter files into the model's. A name is either dotted, as the
 * model's own code has it, or flat, with every dot an underscore; both come with a prefix that says
 * who wrote the file. Immutable.
 */
final class LoraNames {
  /** diffusers, ComfyUI, PEFT; the empty one for files that give no prefix. */
  private static final List<String> DOTTED_PREFIXES =
      List.of(
          "",
          "transformer.",
          "diffusion_model.",
          "model.diffusion_model.",
          "base_model.model.",
          "base_model.model.transformer.");

  /** kohya's scripts, OneTrainer, LyCORIS. */
  private static final List<String> FLAT_PREFIXES =
      List.of("lora_unet_", "lora_transformer_", "lycoris_");

  private static final List<String> TEXT_ENCODER_PREFIXES =
      List.of("text_encoder", "lora_te_", "lora_te1_", "lora_te2_", "lora_te3_");

  private final Map<String, LoraTarget> dotted = new HashMap<>();
  private final Map<String, LoraTarget> flat = new HashMap<>();

  /**
   * @param linears the names of all linears of the model
   */
  LoraNames(Set<String> linears) {
    linears.forEach(linear -> dotted.put(linear, LoraTarget.of(linear)));
    FluxNames.addTo(dotted, linears);
    dotted.forEach((name, target) -> flat.put(name.replace('.', '_'), target));
  }

  /** What {@code name} stands for, or null if the model has no such linear. */
  @Nullable LoraTarget find(String name) {
    LoraTarget target = find(name, DOTTED_PREFIXES, dotted);
    return target == null ? find(name, FLAT_PREFIXES, flat) : target;
  }

  private static @Nullable LoraTarget find(
      String name, List<String> prefixes, Map<String, LoraTarget> targets) {
    for (String prefix : prefixes) {
      LoraTarget target =
          name.startsWith(prefix) ? targets.get(name.substring(prefix.length())) : null;
      if (target != null) {
        return target;
      }
    }
    return null;
  }

  static boolean isTextEncoder(String name) {
    return TEXT_ENCODER_PREFIXES.stream().anyMatch(name::startsWith);
  }
}
