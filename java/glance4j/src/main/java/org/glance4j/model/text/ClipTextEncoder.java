package org.glance4j.model.text;

import java.lang.ref.Reference;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.NativeLoadException;
import org.glance4j.kernel.Backend;
import org.glance4j.weights.ConfigFile;
import org.glance4j.weights.Weights;

/**
 * CLIP's text transformer, as transformers' {@code CLIPTextModel} without an attention mask
 * (Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision").
 *
 * <p>Any number of threads may run it at once; none may while it is closed.
 */
public final class ClipTextEncoder implements AutoCloseable {
  private final ClipConfig config;
  private final Weights weights;
  private final EncoderLinears linears;
  private final Tensor tokenEmbedding;
  private final Tensor positionEmbedding;
  private final List<ClipBlock> blocks;
  private final Norm finalNorm;
  private volatile boolean closed;

  private ClipTextEncoder(ClipConfig config, Weights weights, EncoderLinears linears) {
    this.config = config;
    this.weights = weights;
    this.linears = linears;
    String root = weights.contains("text_model.final_layer_norm.weight") ? "text_model." : "";
    String embeddings = root + "embeddings.";
    this.tokenEmbedding =
        weights.take(embeddings + "token_embedding.weight", config.vocabulary(), config.width());
    this.positionEmbedding =
        weights.take(embeddings + "position_embedding.weight", config.positions(), config.width());
    if (weights.contains(embeddings + "position_ids")) {
      // Old files hold 0, 1, 2, ...
      weights.take(embeddings + "position_ids", 1, config.positions());
    }
    this.blocks =
        IntStream.range(0, config.layers())
            .mapToObj(i -> ClipBlock.load(weights, linears, root + "encoder.layers." + i, config))
            .toList();
    this.finalNorm =
        Norm.layer(weights, root + "final_layer_norm", config.width(), config.epsilon());
    weights.requireAllTaken();
  }

  /**
   * Loads the encoder from a {@code text_encoder} folder.
   *
   * @param dtype of the weights and the outputs; between layers values are float32
   * @throws ModelFormatException if the configuration or the weights are not a CLIPTextModel's
   */
  public static ClipTextEncoder open(Path folder, ScalarType dtype) {
    return open(folder, dtype, Backend.TORCH);
  }

  /**
   * As {@link #open(Path, ScalarType)}.
   *
   * @param backend where the encoder computes
   * @throws NativeLoadException if the backend cannot run on this machine
   */
  public static ClipTextEncoder open(Path folder, ScalarType dtype, Backend backend) {
    Backend resolved = backend.resolve();
    return open(folder, resolved, () -> Weights.open(folder, dtype, resolved::place));
  }

  /**
   * Checks a folder in all that {@link #open} does but the weights' values, and reads none: the
   * result tells widths and limits, takes no memory and cannot run.
   *
   * @throws ModelFormatException as {@link #open}
   */
  public static ClipTextEncoder describe(Path folder, ScalarType dtype) {
    return open(folder, Backend.TORCH, () -> Weights.describe(folder, dtype));
  }

  private static ClipTextEncoder open(Path folder, Backend backend, Supplier<Weights> openWeights) {
    ClipConfig config = ClipConfig.read(ConfigFile.read(folder.resolve("config.json")));
    Weights weights = openWeights.get();
    EncoderLinears linears = new EncoderLinears(weights, backend);
    try {
      return new ClipTextEncoder(config, weights, linears);
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

  /** The most tokens of a prompt. */
  public int maxTokens() {
    return config.positions();
  }

  /** Where it computes. */
  public Device device() {
    requireOpen();
    return tokenEmbedding.device();
  }

  /** The length of each vector. */
  public int width() {
    return config.width();
  }

  /**
   * Encodes a batch of prompts, with the beginning and end tokens {@link Tokenizer} sets.
   *
   * @param ids [batch, tokens], integers below {@link #vocabularySize()}, at most {@link
   *     #maxTokens()} a prompt
   * @return tensors of the caller's scope
   */
  public ClipOutput forward(Tensor ids) {
    return forward(ids, hidden -> {});
  }

  /**
   * As {@link #forward(Tensor)}, and shows the hidden states before the first block and after each
   * one to {@code eachHidden}, which must copy what it keeps.
   */
  ClipOutput forward(Tensor ids, Consumer<Tensor> eachHidden) {
    requireUsable(ids);
    Tensor lastHidden = finalNorm.apply(hidden(ids, eachHidden));
    return new ClipOutput(pool(lastHidden, endPositions(ids)), lastHidden);
  }

  /**
   * {@link ClipOutput#pooled()} alone, which takes a part of the time: a token sees only those
   * before it, so what follows the last prompt's end is left out.
   *
   * @param ids as in {@link #forward(Tensor)}
   * @return [batch, {@link #width()}], of the caller's scope
   */
  public Tensor pooled(Tensor ids) {
    requireUsable(ids);
    long[] ends = endPositions(ids);
    long read = 1 + Arrays.stream(ends).max().orElse(0);
    Tensor last = hidden(ids.narrow(1, 0, read), hidden -> {});
    return finalNorm.apply(pool(last, ends));
  }

  private Tensor hidden(Tensor ids, Consumer<Tensor> eachHidden) {
    Tensor x = embed(ids);
    eachHidden.accept(x);
    for (ClipBlock block : blocks) {
      try (PointerScope temporaries = new PointerScope()) {
        block.update(x);
      }
      eachHidden.accept(x);
    }
    return x;
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("the CLIP text encoder is closed");
    }
  }

  private void requireUsable(Tensor ids) {
    requireOpen();
    if (ids.dim() != 2 || ids.size(1) < 1 || ids.size(1) > config.positions()) {
      throw new IllegalArgumentException(
          "ids must be [batch, 1 to "
              + config.positions()
              + " tokens], not "
              + Arrays.toString(ids.sizes().vec().get()));
    }
  }

  private Tensor embed(Tensor ids) {
    Tensor placed = ids.to(tokenEmbedding.device(), ScalarType.Long);
    Tensor x = torch.embedding(tokenEmbedding, placed).to(ScalarType.Float);
    return x.add_(positionEmbedding.narrow(0, 0, ids.size(1)));
  }

  /** The row of each prompt's end: [batch, tokens, width] to [batch, width]. */
  private Tensor pool(Tensor hidden, long[] ends) {
    long tokens = hidden.size(1);
    long[] rows = new long[ends.length];
    for (int prompt = 0; prompt < rows.length; prompt++) {
      rows[prompt] = prompt * tokens + ends[prompt];
    }
    Tensor index = torch.tensor(rows).to(hidden.device(), ScalarType.Long);
    return hidden.view(-1, config.width()).index_select(0, index);
  }

  /** Where each prompt ends; 0 where the end token is missing, as in transformers. */
  private long[] endPositions(Tensor ids) {
    Tensor flat = ids.cpu().to(ScalarType.Long).contiguous();
    long[] values = new long[(int) flat.numel()];
    try {
      flat.data_ptr_long().get(values);
    } finally {
      Reference.reachabilityFence(flat);
    }
    int tokens = (int) ids.size(1);
    long[] positions = new long[values.length / tokens];
    for (int prompt = 0; prompt < positions.length; prompt++) {
      positions[prompt] = endPosition(values, prompt * tokens, tokens);
    }
    return positions;
  }

  /**
   * The first end token. Configurations from before the end token had its own entry say 2 and mean
   * the largest id, which it was.
   */
  private long endPosition(long[] ids, int from, int tokens) {
    boolean largest = config.endId() == 2;
    int best = 0;
    for (int i = 0; i < tokens; i++) {
      if (!largest && ids[from + i] == config.endId()) {
        return i;
      }
      if (largest && ids[from + i] > ids[from + best]) {
        best = i;
      }
    }
    return best;
  }

  /** Frees the weights. Idempotent. */
  @Override
  public void close() {
    closed = true;
    linears.close();
    weights.close();
  }
}
