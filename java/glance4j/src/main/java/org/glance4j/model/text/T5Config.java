package org.glance4j.model.text;

import org.glance4j.weights.ConfigFile;

/**
 * The configuration of a {@code T5EncoderModel}.
 *
 * @param vocabulary number of token embeddings
 * @param width of the hidden states
 * @param headWidth of each head
 * @param innerWidth of the feed-forward networks
 * @param layers number of blocks
 * @param heads of each attention
 * @param buckets number of relative positions told apart, both directions together
 * @param maxDistance the distance from which on all are one bucket
 * @param epsilon of each RMSNorm
 * @param gated whether the feed-forward networks multiply two projections
 * @param activation of the feed-forward networks
 */
record T5Config(
    int vocabulary,
    int width,
    int headWidth,
    int innerWidth,
    int layers,
    int heads,
    int buckets,
    int maxDistance,
    double epsilon,
    boolean gated,
    Activation activation) {
  private static final String PROJECTION = "feed_forward_proj";

  static T5Config read(ConfigFile config) {
    String type = config.stringOr("model_type", "t5");
    if (!type.equals("t5")) {
      throw config.error("model_type", "\"" + type + "\" is not supported; expected t5");
    }
    int buckets = config.positiveIntOr("relative_attention_num_buckets", 32);
    int maxDistance = config.positiveIntOr("relative_attention_max_distance", 128);
    if (buckets % 4 != 0 || maxDistance <= buckets / 4) {
      throw config.error(
          "relative_attention_num_buckets",
          buckets
              + " must be a multiple of 4 below 4 times relative_attention_max_distance "
              + maxDistance);
    }
    double epsilon = config.numberOr("layer_norm_epsilon", 1e-6);
    if (epsilon < 0) {
      throw config.error("layer_norm_epsilon", epsilon + " is negative");
    }
    String projection = config.stringOr(PROJECTION, "relu");
    return new T5Config(
        config.positiveInt("vocab_size"),
        config.positiveInt("d_model"),
        config.positiveInt("d_kv"),
        config.positiveInt("d_ff"),
        config.positiveInt("num_layers"),
        config.positiveInt("num_heads"),
        buckets,
        maxDistance,
        epsilon,
        projection.startsWith("gated-"),
        activation(config, projection));
  }

  private static Activation activation(ConfigFile config, String projection) {
    if (projection.equals("gated-gelu")) {
      // T5 1.1's name for the approximation by tanh; everywhere else "gelu" is the exact one.
      return Activation.GELU_TANH;
    }
    String name = projection.startsWith("gated-") ? projection.substring(6) : projection;
    return Activation.named(config, PROJECTION, name);
  }
}
