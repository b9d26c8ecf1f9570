package org.glance4j.model.text;

import java.util.List;
import org.glance4j.weights.ConfigFile;

/**
 * The text half of the configuration of a {@code Qwen2_5_VLForConditionalGeneration}.
 *
 * @param vocabulary number of token embeddings
 * @param width of the hidden states
 * @param innerWidth of the feed-forward networks
 * @param layers number of blocks
 * @param heads of each attention's queries
 * @param sharedHeads of each attention's keys and values
 * @param epsilon of each RMSNorm
 * @param theta base of the rotary frequencies
 * @param activation of the feed-forward networks
 */
record Qwen25VlConfig(
    int vocabulary,
    int width,
    int innerWidth,
    int layers,
    int heads,
    int sharedHeads,
    double epsilon,
    double theta,
    Activation activation) {
  private static final String LAYER_TYPES = "layer_types";
  private static final String ROPE_THETA = "rope_theta";

  /** "mrope" is the plain kind on three axes, and text has the same position on each of them. */
  private static final List<String> ROPE_TYPES = List.of("default", "mrope");

  /** The length of a head's vectors. */
  int headWidth() {
    return width / heads;
  }

  static Qwen25VlConfig read(ConfigFile config) {
    requireType(config, "qwen2_5_vl");
    if (!config.has("text_config")) {
      // Before it was given an object of its own, the text half stood among the other keys.
      return readText(config);
    }
    ConfigFile text = config.object("text_config");
    requireType(text, "qwen2_5_vl_text");
    return readText(text);
  }

  private static void requireType(ConfigFile config, String expected) {
    String type = config.stringOr("model_type", expected);
    if (!type.equals(expected)) {
      throw config.error("model_type", "\"" + type + "\" is not supported; expected " + expected);
    }
  }

  private static Qwen25VlConfig readText(ConfigFile config) {
    int width = config.positiveInt("hidden_size");
    int heads = config.positiveInt("num_attention_heads");
    int sharedHeads = config.positiveIntOr("num_key_value_heads", heads);
    if (width % heads != 0 || width / heads % 2 != 0) {
      throw config.error(
          "num_attention_heads",
          heads + " does not divide hidden_size " + width + " into heads of an even width");
    }
    if (heads % sharedHeads != 0) {
      throw config.error(
          "num_key_value_heads", sharedHeads + " does not divide num_attention_heads " + heads);
    }
    double epsilon = config.numberOr("rms_norm_eps", 1e-5);
    if (epsilon < 0) {
      throw config.error("rms_norm_eps", epsilon + " is negative");
    }
    requireFullAttention(config);
    return new Qwen25VlConfig(
        config.positiveInt("vocab_size"),
        width,
        config.positiveInt("intermediate_size"),
        config.positiveInt("num_hidden_layers"),
        heads,
        sharedHeads,
        epsilon,
        theta(config, width / heads),
        Activation.named(config, "hidden_act", config.stringOr("hidden_act", "silu")));
  }

  private static void requireFullAttention(ConfigFile config) {
    if (config.boolOr("use_sliding_window", false)) {
      throw config.error(
          "use_sliding_window", "true is not supported; attention reads the whole prompt");
    }
    if (!config.has(LAYER_TYPES)) {
      return;
    }
    for (String type : config.strings(LAYER_TYPES)) {
      if (!type.equals("full_attention")) {
        throw config.error(
            LAYER_TYPES, "\"" + type + "\" is not supported; expected full_attention");
      }
    }
  }

  /** The base of the frequencies, which newer files keep beside the kind of embedding. */
  private static double theta(ConfigFile config, int headWidth) {
    double theta = config.numberOr(ROPE_THETA, 1e6);
    for (String key : List.of("rope_parameters", "rope_scaling")) {
      if (config.has(key)) {
        ConfigFile rope = config.object(key);
        requirePlainRope(rope, headWidth);
        theta = rope.numberOr(ROPE_THETA, theta);
      }
    }
    if (theta <= 0) {
      throw config.error(ROPE_THETA, theta + " is not above 0");
    }
    return theta;
  }

  private static void requirePlainRope(ConfigFile rope, int headWidth) {
    for (String key : List.of("rope_type", "type")) {
      String type = rope.stringOr(key, "default");
      if (!ROPE_TYPES.contains(type)) {
        throw rope.error(key, "\"" + type + "\" is not supported; expected one of " + ROPE_TYPES);
      }
    }
    if (!rope.has("mrope_section")) {
      return;
    }
    List<Integer> sections = rope.positiveInts("mrope_section");
    if (sections.stream().mapToLong(Integer::longValue).sum() != headWidth / 2) {
      throw rope.error(
          "mrope_section",
          sections + " does not add up to half of a head's " + headWidth + " channels");
    }
  }
}
