package org.glance4j.model.flux;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.model.Beside;
import org.glance4j.model.text.ClipTextEncoder;
import org.glance4j.model.text.T5Encoder;
import org.glance4j.model.text.TokenIds;
import org.glance4j.model.text.Tokenizer;
import org.jspecify.annotations.Nullable;

/**
 * Encodes prompts as diffusers' {@code FluxPipeline.encode_prompt} does: CLIP gives one pooled
 * vector a prompt, T5 one vector a token.
 *
 * <p>Any number of threads may use it at once; none may while it is closed.
 */
public final class FluxPromptEncoder implements AutoCloseable {
  /** FLUX was trained with at most this many text tokens. */
  static final int MAX_TEXT_TOKENS = 512;

  private final FluxTokenizers tokenizers;
  private final FluxTextEncoders encoders;

  /**
   * @param tokenizers of the same model as the encoders
   */
  FluxPromptEncoder(FluxTokenizers tokenizers, FluxTextEncoders encoders) {
    this.tokenizers = tokenizers;
    this.encoders = encoders;
  }

  /**
   * Loads {@code tokenizer}, {@code text_encoder} (CLIP), {@code tokenizer_2} and {@code
   * text_encoder_2} (T5) from a FLUX model folder.
   *
   * @param dtype of the weights and the outputs
   * @throws ModelFormatException if a file is missing or malformed
   */
  public static FluxPromptEncoder open(Path modelFolder, ScalarType dtype) {
    return open(modelFolder, dtype, Backend.TORCH);
  }

  /**
   * As {@link #open(Path, ScalarType)}.
   *
   * @param backend where the encoders compute
   */
  public static FluxPromptEncoder open(Path modelFolder, ScalarType dtype, Backend backend) {
    FluxTokenizers tokenizers = FluxTokenizers.open(modelFolder);
    try {
      return new FluxPromptEncoder(tokenizers, FluxTextEncoders.open(modelFolder, dtype, backend));
    } catch (RuntimeException | Error e) {
      tokenizers.close();
      throw e;
    }
  }

  /** The text tokens to use where a request does not say: 512, or the tokenizer's limit below. */
  public int maxTextTokens() {
    return tokenizers.textTokens();
  }

  /** The length of a pooled vector. */
  public int pooledWidth() {
    return encoders.pooledWidth();
  }

  /** The length of a text token's vector. */
  public int textWidth() {
    return encoders.textWidth();
  }

  /**
   * Encodes one prompt.
   *
   * @param prompt for CLIP, and for T5 where {@code prompt2} is null
   * @param prompt2 for T5
   * @param maxTextTokens what T5's input is padded or truncated to; changes the outputs even for
   *     short prompts; 1 to 512
   * @return tensors of the caller's scope
   */
  public PromptEmbedding encode(String prompt, @Nullable String prompt2, int maxTextTokens) {
    return encode(List.of(prompt), List.of(prompt2 == null ? prompt : prompt2), maxTextTokens);
  }

  /**
   * Encodes several prompts at once, each for both encoders.
   *
   * @param maxTextTokens as in {@link #encode(String, String, int)}
   * @return tensors of the caller's scope
   */
  public PromptEmbedding encode(List<String> prompts, int maxTextTokens) {
    return encode(prompts, prompts, maxTextTokens);
  }

  private PromptEmbedding encode(
      List<String> clipPrompts, List<String> t5Prompts, int maxTextTokens) {
    if (maxTextTokens < 1 || maxTextTokens > MAX_TEXT_TOKENS) {
      throw new IllegalArgumentException(
          "max text tokens %d is not in 1 to %d".formatted(maxTextTokens, MAX_TEXT_TOKENS));
    }
    if (clipPrompts.isEmpty()) {
      throw new IllegalArgumentException("there is no prompt to encode");
    }
    try (Beside<Pooled> clip = Beside.start(encoders.clip().device(), () -> pooled(clipPrompts))) {
      T5Encoder t5 = encoders.t5();
      List<TokenIds> t5Ids = tokenize(tokenizers.t5(), t5Prompts, maxTextTokens);
      Tensor embeds = t5.forward(TokenIds.batch("T5", t5Ids, t5.vocabularySize()));
      Pooled pooled = clip.result();
      return new PromptEmbedding(embeds, pooled.take(), tokens(pooled.ids(), t5Ids));
    }
  }

  /**
   * What CLIP makes of prompts.
   *
   * @param vectors of no scope
   */
  private record Pooled(List<TokenIds> ids, Tensor vectors) {
    /** The vectors, now of the caller's scope. */
    Tensor take() {
      PointerScope scope = PointerScope.getInnerScope();
      if (scope != null) {
        scope.attach(vectors);
        vectors.releaseReference();
      }
      return vectors;
    }
  }

  private Pooled pooled(List<String> prompts) {
    ClipTextEncoder clip = encoders.clip();
    int limit = Math.min(clip.maxTokens(), tokenizers.clip().modelMaxLength());
    try (PointerScope scope = new PointerScope()) {
      List<TokenIds> ids = tokenize(tokenizers.clip(), prompts, limit);
      Tensor vectors = clip.pooled(TokenIds.batch("CLIP", ids, clip.vocabularySize()));
      return new Pooled(ids, vectors.retainReference());
    }
  }

  private static List<TokenIds> tokenize(Tokenizer tokenizer, List<String> prompts, int length) {
    return prompts.stream().map(prompt -> tokenizer.encode(prompt, length)).toList();
  }

  private static List<PromptTokens> tokens(List<TokenIds> clip, List<TokenIds> t5) {
    List<PromptTokens> tokens = new ArrayList<>();
    for (int i = 0; i < clip.size(); i++) {
      TokenIds c = clip.get(i);
      TokenIds t = t5.get(i);
      tokens.add(
          new PromptTokens(
              c.untruncatedLength(), c.ids().length, t.untruncatedLength(), t.ids().length));
    }
    return tokens;
  }

  /** Frees tokenizers and encoders. Idempotent. */
  @Override
  public void close() {
    tokenizers.close();
    encoders.close();
  }
}
