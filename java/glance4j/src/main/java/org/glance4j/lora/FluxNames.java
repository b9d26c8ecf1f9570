package org.glance4j.lora;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The names that the original FLUX code, ComfyUI and kohya's scripts give the linears of {@code
 * FluxTransformer2DModel}. Some are several linears in one, stacked along the output.
 */
final class FluxNames {
  /** Original name, then the linears it stands for. {@code #} is a block's number. */
  private static final String[][] TABLE = {
    {"img_in", "x_embedder"},
    {"txt_in", "context_embedder"},
    {"time_in.in_layer", "time_text_embed.timestep_embedder.linear_1"},
    {"time_in.out_layer", "time_text_embed.timestep_embedder.linear_2"},
    {"vector_in.in_layer", "time_text_embed.text_embedder.linear_1"},
    {"vector_in.out_layer", "time_text_embed.text_embedder.linear_2"},
    {"guidance_in.in_layer", "time_text_embed.guidance_embedder.linear_1"},
    {"guidance_in.out_layer", "time_text_embed.guidance_embedder.linear_2"},
    {"double_blocks.#.img_mod.lin", "transformer_blocks.#.norm1.linear"},
    {"double_blocks.#.txt_mod.lin", "transformer_blocks.#.norm1_context.linear"},
    {
      "double_blocks.#.img_attn.qkv",
      "transformer_blocks.#.attn.to_q",
      "transformer_blocks.#.attn.to_k",
      "transformer_blocks.#.attn.to_v"
    },
    {"double_blocks.#.img_attn.proj", "transformer_blocks.#.attn.to_out.0"},
    {
      "double_blocks.#.txt_attn.qkv",
      "transformer_blocks.#.attn.add_q_proj",
      "transformer_blocks.#.attn.add_k_proj",
      "transformer_blocks.#.attn.add_v_proj"
    },
    {"double_blocks.#.txt_attn.proj", "transformer_blocks.#.attn.to_add_out"},
    {"double_blocks.#.img_mlp.0", "transformer_blocks.#.ff.net.0.proj"},
    {"double_blocks.#.img_mlp.2", "transformer_blocks.#.ff.net.2"},
    {"double_blocks.#.txt_mlp.0", "transformer_blocks.#.ff_context.net.0.proj"},
    {"double_blocks.#.txt_mlp.2", "transformer_blocks.#.ff_context.net.2"},
    {"single_blocks.#.modulation.lin", "single_transformer_blocks.#.norm.linear"},
    {
      "single_blocks.#.linear1",
      "single_transformer_blocks.#.attn.to_q",
      "single_transformer_blocks.#.attn.to_k",
      "single_transformer_blocks.#.attn.to_v",
      "single_transformer_blocks.#.proj_mlp"
    },
    {"single_blocks.#.linear2", "single_transformer_blocks.#.proj_out"},
    {"final_layer.adaLN_modulation.1", "norm_out.linear"},
    {"final_layer.linear", "proj_out"},
  };

  /** The original code has (shift, scale) where diffusers has (scale, shift). */
  private static final String SWAPPED = "final_layer.adaLN_modulation.1";

  private FluxNames() {}

  /** Adds the original names of {@code linears}; none if they are not FLUX's. */
  static void addTo(Map<String, LoraTarget> names, Set<String> linears) {
    if (!linears.contains("context_embedder")) {
      return;
    }
    for (String[] row : TABLE) {
      int block = 0;
      boolean added = addRow(names, linears, row, block);
      while (added && row[0].contains("#")) {
        block++;
        added = addRow(names, linears, row, block);
      }
    }
  }

  /** Adds one name, if the model has all its linears. */
  private static boolean addRow(
      Map<String, LoraTarget> names, Set<String> linears, String[] row, int block) {
    List<String> filled =
        Arrays.stream(row).map(name -> name.replace("#", Integer.toString(block))).toList();
    List<String> targets = filled.subList(1, filled.size());
    if (!linears.containsAll(targets)) {
      return false;
    }
    names.put(filled.get(0), new LoraTarget(targets, row[0].equals(SWAPPED)));
    return true;
  }
}
