package org.glance4j.model.text;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.NativeLoadException;
import org.glance4j.kernel.Backend;
import org.glance4j.weights.ConfigFile;
import org.glance4j.weights.Weights;

/**
 * T5's encoder, as transformers' {@code T5EncoderModel} without an attention mask: padding is
 * attended to like text, so the padded length changes every output (Raffel et al. 2020, "Exploring
 * the Limits of Transfer Learning with a Unified Text-to-Text Transformer").
 *
 * <p>Any number of threads may run it at once; none may while it is closed.
 */
public final class T5Encoder implements AutoCloseable {
  private static final String SHARED = "shared.weight";
  private static final String EMBEDDING = "encoder.embed_tokens.weight";

  private final T5Config config;
  private final Weights weights;
  private final EncoderLinears linears;
  private final Tensor tokenEmbedding;
  private final RelativePositionBias bias;
  private final List<T5Block> blocks;
  private final Norm finalNorm;
  private volatile boolean closed;

  private T5Encoder(T5Config config, Weights weights, EncoderLinears linears) {
    this.config = config;
    this.weights = weights;
    this.linears = linears;
    this.tokenEmbedding = takeEmbedding(config, weights);
    this.bias =
        new RelativePositionBias(
            weights, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias", config);
    this.blocks =
        IntStream.range(0, config.layers())
            .mapToObj(i -> T5Block.load(weights, linears, "encoder.block." + i, config))
            .toList();
    this.finalNorm =
        Norm.rms(
            weights,
            "encoder.final_layer_norm",
            config.width(),
            config.epsilon(),
            linears.backend());
    weights.requireAllTaken();
  }

  /** Files hold the embedding under one of two names, or twice. */
  private static Tensor takeEmbedding(T5Config config, Weights weights) {
    boolean both = weights.contains(SHARED) && weights.contains(EMBEDDING);
    if (both) {
      weights.take(EMBEDDING, config.vocabulary(), config.width());
    }
    String name = weights.contains(EMBEDDING) && !both ? EMBEDDING : SHARED;
    return weights.take(name, config.vocabulary(), config.width());
  }

  /**
   * Loads the encoder from a {@code text_encoder_2} folder.
   *
   * @param dtype of the weights and the output; between layers values are float32
   * @throws ModelFormatException if the configuration or the weights are not a T5EncoderModel's
   */
  public static T5Encoder open(Path folder, ScalarType dtype) {
    return open(folder, dtype, Backend.TORCH);
  }

  /**
   * As {@link #open(Path, ScalarType)}.
   *
   * @param backend where the encoder computes
   * @throws NativeLoadException if the backend cannot run on this machine
   */
  public static T5Encoder open(Path folder, ScalarType dtype, Backend backend) {
    Backend resolved = backend.resolve();
    return open(folder, resolved, () -> Weights.open(folder, dtype, resolved::place));
  }

  /**
   * Checks a folder in all that {@link #open} does but the weights' values, and reads none: the
   * result tells widths and limits, takes no memory and cannot run.
   *
   * @throws ModelFormatException as {@link #open}
   */
  public static T5Encoder describe(Path folder, ScalarType dtype) {
    return open(folder, Backend.TORCH, () -> Weights.describe(folder, dtype));
  }

  private static T5Encoder open(Path folder, Backend backend, Supplier<Weights> openWeights) {
    T5Config config = T5Config.read(ConfigFile.read(folder.resolve("config.json")));
    Weights weights = openWeights.get();
    EncoderLinears linears = new EncoderLinears(weights, backend);
    try {
      return new T5Encoder(config, weights, linears);
    } catch (RuntimeException e) {
      linears.close();
      weights.close();
      throw e;
    }
  }

  /** How many token embeddings there are; ids must be below. */
  public int vocabularySize() {
    return config.vocabulary();
  }

  /** The length of each vector. */
  public int width() {
    return config.width();
  }

  /**
   * Encodes a batch of prompts.
   *
   * @param ids [batch, tokens], integers below {@link #vocabularySize()}
   * @return [batch, tokens, {@link #width()}], of the caller's scope
   */
  public Tensor forward(Tensor ids) {
    return forward(ids, hidden -> {});
  }

  /**
   * As {@link #forward(Tensor)}, and shows the hidden states before each block and the output to
   * {@code eachHidden}, which must copy what it keeps.
   */
  Tensor forward(Tensor ids, Consumer<Tensor> eachHidden) {
    if (closed) {
      throw new IllegalStateException("the T5 encoder is closed");
    }
    if (ids.dim() != 2 || ids.size(1) < 1) {
      throw new IllegalArgumentException(
          "ids must be [batch, tokens], not " + Arrays.toString(ids.sizes().vec().get()));
    }
    Tensor placed = ids.to(tokenEmbedding.device(), ScalarType.Long);
    Tensor x = torch.embedding(tokenEmbedding, placed).to(ScalarType.Float);
    Tensor scoreBias = bias.of(ids.size(1));
    for (T5Block block : blocks) {
      eachHidden.accept(x);
      try (PointerScope temporaries = new PointerScope()) {
        block.update(x, scoreBias);
      }
    }
    Tensor output = finalNorm.apply(x);
    eachHidden.accept(output);
    return output;
  }

  /** Frees the weights. Idempotent. */
  @Override
  public void close() {
    closed = true;
    bias.close();
    linears.close();
    weights.close();
  }
}
