package org.glance4j.model.flux;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
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

  private final Tokenizer clipTokenizer;
  private final ClipTextEncoder clip;
  private final Tokenizer t5Tokenizer;
  private final T5Encoder t5;

  private FluxPromptEncoder(
      Tokenizer clipTokenizer, ClipTextEncoder clip, Tokenizer t5Tokenizer, T5Encoder t5) {
    this.clipTokenizer = clipTokenizer;
    this.clip = clip;
    this.t5Tokenizer = t5Tokenizer;
    this.t5 = t5;
  }

  /**
   * Loads {@code tokenizer}, {@code text_encoder} (CLIP), {@code tokenizer_2} and {@code
   * text_encoder_2} (T5) from a FLUX model folder.
   *
   * @param dtype of the weights and the outputs
   * @throws ModelFormatException if a file is missing or malformed
   */
  public static FluxPromptEncoder open(Path modelFolder, ScalarType dtype) {
    return open(modelFolder, dtype, UnaryOperator.identity());
  }

  /**
   * As {@link #open(Path, ScalarType)}.
   *
   * @param placement gives a tensor where the encoders shall compute: itself, or a copy
   */
  public static FluxPromptEncoder open(
      Path modelFolder, ScalarType dtype, UnaryOperator<Tensor> placement) {
    List<AutoCloseable> opened = new ArrayList<>();
    try {
      Tokenizer clipTokenizer = Tokenizer.clip(modelFolder.resolve("tokenizer"));
      opened.add(clipTokenizer);
      Tokenizer t5Tokenizer = Tokenizer.t5(modelFolder.resolve("tokenizer_2"));
      opened.add(t5Tokenizer);
      ClipTextEncoder clip =
          ClipTextEncoder.open(modelFolder.resolve("text_encoder"), dtype, placement);
      opened.add(clip);
      T5Encoder t5 = T5Encoder.open(modelFolder.resolve("text_encoder_2"), dtype, placement);
      return new FluxPromptEncoder(clipTokenizer, clip, t5Tokenizer, t5);
    } catch (RuntimeException e) {
      opened.forEach(part -> closeAfter(e, part));
      throw e;
    }
  }

  private static void closeAfter(RuntimeException cause, AutoCloseable part) {
    try {
      part.close();
    } catch (Exception e) {
      cause.addSuppressed(e);
    }
  }

  /** The text tokens to use where a request does not say: 512, or the tokenizer's limit below. */
  public int maxTextTokens() {
    return Math.min(MAX_TEXT_TOKENS, t5Tokenizer.modelMaxLength());
  }

  /** The length of a pooled vector. */
  public int pooledWidth() {
    return clip.width();
  }

  /** The length of a text token's vector. */
  public int textWidth() {
    return t5.width();
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
    int clipTokens = Math.min(clip.maxTokens(), clipTokenizer.modelMaxLength());
    List<TokenIds> clipIds = tokenize(clipTokenizer, clipPrompts, clipTokens);
    List<TokenIds> t5Ids = tokenize(t5Tokenizer, t5Prompts, maxTextTokens);
    Tensor pooled = clip.forward(TokenIds.batch("CLIP", clipIds, clip.vocabularySize())).pooled();
    Tensor embeds = t5.forward(TokenIds.batch("T5", t5Ids, t5.vocabularySize()));
    return new PromptEmbedding(embeds, pooled, tokens(clipIds, t5Ids));
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
    clipTokenizer.close();
    t5Tokenizer.close();
    clip.close();
    t5.close();
  }
}
