package org.glance4j.model.qwen;

import java.nio.file.Path;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.model.TensorScope;
import org.glance4j.model.text.Qwen25VlTextEncoder;
import org.glance4j.model.text.TokenIds;
import org.glance4j.model.text.Tokenizer;

/**
 * Encodes prompts as diffusers' {@code QwenImagePipeline.encode_prompt} does: as a chat in which
 * the system asks for a description of the prompt's picture. The vectors of what the system says
 * are dropped; those of the prompt, and of what ends it, are kept.
 *
 * <p>Any number of threads may use it at once; none may while it is closed.
 */
public final class QwenPromptEncoder implements AutoCloseable {
  /** The text tokens that the pipeline uses where a request does not say. */
  static final int DEFAULT_TEXT_TOKENS = 512;

  /** The pipeline encodes no more text tokens than this. */
  static final int MAX_TEXT_TOKENS = 1024;

  private static final String BEGIN = "<|im_start|>";
  private static final String END = "<|im_end|>";

  /** The chat up to the prompt, with the words that Qwen-Image was trained with. */
  private static final String HEAD =
      BEGIN
          + "system\nDescribe the image by detailing the color, shape, size, texture, quantity,"
          + " text, spatial relationships of the objects and background:"
          + END
          + "\n"
          + BEGIN
          + "user\n";

  private static final String TAIL = END + "\n" + BEGIN + "assistant\n";

  /** Tokens of {@link #HEAD}: a fixed number, as in the pipeline, whatever the vocabulary. */
  private static final int HEAD_TOKENS = 34;

  private final Tokenizer tokenizer;
  private final Qwen25VlTextEncoder encoder;

  /**
   * @param tokenizer from {@link #openTokenizer}, of the same model as the encoder
   */
  QwenPromptEncoder(Tokenizer tokenizer, Qwen25VlTextEncoder encoder) {
    this.tokenizer = tokenizer;
    this.encoder = encoder;
  }

  /**
   * Loads {@code tokenizer} and {@code text_encoder} from a Qwen-Image model folder.
   *
   * @param dtype of the weights and the output
   * @throws ModelFormatException if a file is missing or malformed
   */
  public static QwenPromptEncoder open(Path modelFolder, ScalarType dtype) {
    return open(modelFolder, dtype, Backend.TORCH);
  }

  /**
   * As {@link #open(Path, ScalarType)}.
   *
   * @param backend where the encoder computes
   */
  public static QwenPromptEncoder open(Path modelFolder, ScalarType dtype, Backend backend) {
    Tokenizer tokenizer = openTokenizer(modelFolder);
    try {
      Path encoderFolder = modelFolder.resolve("text_encoder");
      return new QwenPromptEncoder(
          tokenizer, Qwen25VlTextEncoder.open(encoderFolder, dtype, backend));
    } catch (RuntimeException e) {
      tokenizer.close();
      throw e;
    }
  }

  /** The tokenizer of a model folder, checked to know the prompt template. */
  static Tokenizer openTokenizer(Path modelFolder) {
    Path folder = modelFolder.resolve("tokenizer");
    Tokenizer tokenizer = Tokenizer.qwen2(folder, BEGIN, END);
    try {
      requireHead(folder, tokenizer);
      return tokenizer;
    } catch (RuntimeException e) {
      tokenizer.close();
      throw e;
    }
  }

  /** A vocabulary with fewer tokens for the head would leave nothing of a short prompt. */
  private static void requireHead(Path folder, Tokenizer tokenizer) {
    int tokens = tokenizer.encodeUnpadded(HEAD, Integer.MAX_VALUE).untruncatedLength();
    if (tokens < HEAD_TOKENS) {
      throw ModelFormatException.in(
          folder,
          "vocabulary",
          "splits the prompt template into "
              + tokens
              + " tokens before the prompt, but Qwen-Image drops "
              + HEAD_TOKENS
              + "; this is another model's tokenizer");
    }
  }

  /** The text tokens to use where a request does not say. */
  public int maxTextTokens() {
    return DEFAULT_TEXT_TOKENS;
  }

  /** The length of a text token's vector. */
  public int textWidth() {
    return encoder.width();
  }

  /**
   * Encodes several prompts at once.
   *
   * @param maxTextTokens what longer prompts are cut to, the end of the template counted in;
   *     shorter ones keep their length; 1 to 1024
   * @return tensors of the caller's scope
   */
  public PromptEmbedding encode(List<String> prompts, int maxTextTokens) {
    if (maxTextTokens < 1 || maxTextTokens > MAX_TEXT_TOKENS) {
      throw new IllegalArgumentException(
          "max text tokens %d is not in 1 to %d".formatted(maxTextTokens, MAX_TEXT_TOKENS));
    }
    if (prompts.isEmpty()) {
      throw new IllegalArgumentException("there is no prompt to encode");
    }
    // No token sees what is behind it, so those that would be cut off afterwards need no encoding.
    int limit = HEAD_TOKENS + maxTextTokens;
    List<TokenIds> ids =
        prompts.stream()
            .map(prompt -> tokenizer.encodeUnpadded(HEAD + prompt + TAIL, limit))
            .toList();
    List<PromptTokens> tokens = ids.stream().map(QwenPromptEncoder::tokens).toList();
    try (TensorScope scope = new TensorScope()) {
      Tensor hidden = encoder.forward(TokenIds.batch("Qwen2.5-VL", ids, encoder.vocabularySize()));
      return new PromptEmbedding(scope.release(withoutHead(hidden, tokens)), tokens);
    }
  }

  private static PromptTokens tokens(TokenIds ids) {
    return new PromptTokens(ids.untruncatedLength() - HEAD_TOKENS, ids.ids().length - HEAD_TOKENS);
  }

  /** The vectors behind the head, with zeros in place of those behind a prompt's own. */
  private static Tensor withoutHead(Tensor hidden, List<PromptTokens> tokens) {
    Tensor embeds = hidden.narrow(1, HEAD_TOKENS, hidden.size(1) - HEAD_TOKENS).clone();
    for (int prompt = 0; prompt < tokens.size(); prompt++) {
      int kept = tokens.get(prompt).kept();
      embeds.select(0, prompt).narrow(0, kept, embeds.size(1) - kept).zero_();
    }
    return embeds;
  }

  /** Frees tokenizer and encoder. Idempotent. */
  @Override
  public void close() {
    tokenizer.close();
    encoder.close();
  }
}
