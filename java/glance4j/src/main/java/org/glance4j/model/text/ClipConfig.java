package org.glance4j.model.text;

import org.glance4j.weights.ConfigFile;

/**
 * The configuration of a {@code CLIPTextModel}.
 *
 * @param vocabulary number of token embeddings
 * @param positions most tokens of a prompt
 * @param width of the hidden states
 * @param innerWidth of the feed-forward networks
 * @param layers number of blocks
 * @param heads of each attention
 * @param epsilon of each LayerNorm
 * @param activation of the feed-forward networks
 * @param endId the end token's id, or 2 for "the largest id"
 */
record ClipConfig(
    int vocabulary,
    int positions,
    int width,
    int innerWidth,
    int layers,
    int heads,
    double epsilon,
    Activation activation,
    int endId) {

  static ClipConfig read(ConfigFile config) {
    String type = config.stringOr("model_type", "clip_text_model");
    if (!type.equals("clip_text_model")) {
      throw config.error(
          "model_type", "\"" + type + "\" is not supported; expected clip_text_model");
    }
    int width = config.positiveInt("hidden_size");
    int heads = config.positiveInt("num_attention_heads");
    if (width % heads != 0) {
      throw config.error("num_attention_heads", heads + " does not divide hidden_size " + width);
    }
    double epsilon = config.numberOr("layer_norm_eps", 1e-5);
    if (epsilon < 0) {
      throw config.error("layer_norm_eps", epsilon + " is negative");
    }
    return new ClipConfig(
        config.positiveInt("vocab_size"),
        config.positiveIntOr("max_position_embeddings", 77),
        width,
        config.positiveInt("intermediate_size"),
        config.positiveInt("num_hidden_layers"),
        heads,
        epsilon,
        Activation.named(config, "hidden_act", config.stringOr("hidden_act", "quick_gelu")),
        config.integerOr("eos_token_id", 49407));
  }
}
