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
 * Qwen2.5-VL's language model as an encoder of text: transformers' {@code
 * Qwen2_5_VLForConditionalGeneration} up to its last hidden states (arXiv 2502.13923). What it has
 * for pictures and for predicting words is not read.
 *
 * <p>Any number of threads may run it at once; none may while it is closed.
 */
public final class Qwen25VlTextEncoder implements AutoCloseable {
  private static final String EMBEDDING = "embed_tokens.weight";

  /** Where the text model lies in files of newer and of older versions of transformers. */
  private static final List<String> ROOTS = List.of("model.language_model.", "model.");

  /** The picture's encoder, in both kinds of files, and the layer that predicts words. */
  private static final List<String> UNUSED = List.of("visual.", "model.visual.", "lm_head.");

  private final Qwen25VlConfig config;
  private final Weights weights;
  private final EncoderLinears linears;
  private final Tensor tokenEmbedding;
  private final List<Qwen25VlBlock> blocks;
  private final Norm finalNorm;
  private volatile boolean closed;

  private Qwen25VlTextEncoder(Qwen25VlConfig config, Weights weights, EncoderLinears linears) {
    this.config = config;
    this.weights = weights;
    this.linears = linears;
    weights.ignore(name -> !reads(name));
    boolean newer = weights.contains(ROOTS.get(0) + EMBEDDING);
    String root = ROOTS.get(newer ? 0 : 1);
    this.tokenEmbedding = weights.take(root + EMBEDDING, config.vocabulary(), config.width());
    this.blocks =
        IntStream.range(0, config.layers())
            .mapToObj(i -> Qwen25VlBlock.load(weights, linears, root + "layers." + i, config))
            .toList();
    this.finalNorm =
        Norm.rms(weights, root + "norm", config.width(), config.epsilon(), linears.backend());
    weights.requireAllTaken();
  }

  /** True for a tensor of such a model's files that this class reads. */
  public static boolean reads(String name) {
    return UNUSED.stream().noneMatch(name::startsWith);
  }

  /**
   * Loads the encoder from a {@code text_encoder} folder.
   *
   * @param dtype of the weights and the output; between layers values are float32
   * @throws ModelFormatException if the configuration or the weights are not a
   *     Qwen2_5_VLForConditionalGeneration's
   */
  public static Qwen25VlTextEncoder open(Path folder, ScalarType dtype) {
    return open(folder, dtype, Backend.TORCH);
  }

  /**
   * As {@link #open(Path, ScalarType)}.
   *
   * @param backend where the encoder computes
   * @throws NativeLoadException if the backend cannot run on this machine
   */
  public static Qwen25VlTextEncoder open(Path folder, ScalarType dtype, Backend backend) {
    Backend resolved = backend.resolve();
    return open(folder, resolved, () -> Weights.open(folder, dtype, resolved::place));
  }

  /**
   * Checks a folder in all that {@link #open} does but the weights' values, and reads none: the
   * result tells widths, takes no memory and cannot run.
   *
   * @throws ModelFormatException as {@link #open}
   */
  public static Qwen25VlTextEncoder describe(Path folder, ScalarType dtype) {
    return open(folder, Backend.TORCH, () -> Weights.describe(folder, dtype));
  }

  private static Qwen25VlTextEncoder open(
      Path folder, Backend backend, Supplier<Weights> openWeights) {
    Qwen25VlConfig config = Qwen25VlConfig.read(ConfigFile.read(folder.resolve("config.json")));
    Weights weights = openWeights.get();
    EncoderLinears linears = new EncoderLinears(weights, backend);
    try {
      return new Qwen25VlTextEncoder(config, weights, linears);
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
   * Encodes a batch of prompts. Each token sees itself and those before it, so what is put behind a
   * prompt to make it as long as the others changes none of its own vectors.
   *
   * @param ids [batch, tokens], integers below {@link #vocabularySize()}, padded behind
   * @return the states after the last norm, [batch, tokens, {@link #width()}], of the caller's
   *     scope
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
      throw new IllegalStateException("the Qwen2.5-VL text encoder is closed");
    }
    if (ids.dim() != 2 || ids.size(1) < 1) {
      throw new IllegalArgumentException(
          "ids must be [batch, tokens], not " + Arrays.toString(ids.sizes().vec().get()));
    }
    Tensor placed = ids.to(tokenEmbedding.device(), ScalarType.Long);
    Tensor x = torch.embedding(tokenEmbedding, placed).to(ScalarType.Float);
    Rotation positions =
        Rotation.of(ids.size(1), config.headWidth(), config.theta(), tokenEmbedding.device());
    for (Qwen25VlBlock block : blocks) {
      eachHidden.accept(x);
      try (PointerScope temporaries = new PointerScope()) {
        block.update(x, positions);
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
    linears.close();
    weights.close();
  }
}
