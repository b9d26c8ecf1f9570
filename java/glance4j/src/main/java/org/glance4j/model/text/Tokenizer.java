package org.glance4j.model.text;

import java.nio.file.Path;
import java.util.Arrays;
import org.glance4j.ModelFormatException;

/**
 * Turns prompts into token ids exactly as transformers' {@code CLIPTokenizer}, {@code T5Tokenizer}
 * and {@code Qwen2Tokenizer} do, from the files in the model folder. Thread-safe.
 */
public final class Tokenizer implements AutoCloseable {
  private final TokenizerEngine engine;
  private final long[] head;
  private final long[] tail;
  private final long pad;
  private final int modelMaxLength;

  private Tokenizer(
      TokenizerEngine engine, long[] head, long[] tail, long pad, int modelMaxLength) {
    this.engine = engine;
    this.head = head;
    this.tail = tail;
    this.pad = pad;
    this.modelMaxLength = modelMaxLength;
  }

  /**
   * CLIP's byte-level BPE tokenizer, from {@code tokenizer.json}, or {@code vocab.json} and {@code
   * merges.txt}. Ids are framed by the beginning and end tokens.
   *
   * @throws ModelFormatException if a file is missing or malformed
   */
  public static Tokenizer clip(Path folder) {
    TokenizerFolder files = TokenizerFolder.open(folder);
    BpeVocabulary vocabulary = BpeVocabulary.read(files);
    TokenizerSettings settings = TokenizerSettings.clip(files);
    AddedTokens added = new AddedTokens(settings.addedTokens(), vocabulary.ids());
    long begin = added.id(settings.bos());
    long end = added.id(settings.eos());
    return new Tokenizer(
        TokenizerEngine.create(folder, EngineJson.clip(vocabulary, settings.unknown(), added)),
        new long[] {begin},
        new long[] {end},
        added.id(settings.pad()),
        settings.modelMaxLength());
  }

  /**
   * T5's SentencePiece unigram tokenizer, from {@code tokenizer.json} or {@code spiece.model}. Ids
   * are followed by the end token.
   *
   * @throws ModelFormatException if a file is missing or malformed
   */
  public static Tokenizer t5(Path folder) {
    TokenizerFolder files = TokenizerFolder.open(folder);
    UnigramVocabulary vocabulary = UnigramVocabulary.read(files);
    TokenizerSettings settings = TokenizerSettings.t5(files);
    AddedTokens added = new AddedTokens(settings.addedTokens(), vocabulary.ids());
    return new Tokenizer(
        TokenizerEngine.create(folder, EngineJson.t5(vocabulary, added)),
        new long[0],
        new long[] {added.id(settings.eos())},
        added.id(settings.pad()),
        settings.modelMaxLength());
  }

  /**
   * Qwen2's byte-level BPE tokenizer, from {@code tokenizer.json}, or {@code vocab.json} and {@code
   * merges.txt}. Ids have no frame.
   *
   * @param needed tokens, such as those of a prompt template, that must be found in a text as such
   * @throws ModelFormatException if a file is missing or malformed, or lacks a needed token
   */
  public static Tokenizer qwen2(Path folder, String... needed) {
    TokenizerFolder files = TokenizerFolder.open(folder);
    BpeVocabulary vocabulary = BpeVocabulary.read(files);
    TokenizerSettings settings = TokenizerSettings.qwen2(files);
    AddedTokens added = new AddedTokens(settings.addedTokens(), vocabulary.ids());
    for (String token : needed) {
      if (!added.contains(token)) {
        throw TokenizerSettings.missing(files, token);
      }
    }
    return new Tokenizer(
        TokenizerEngine.create(folder, EngineJson.qwen2(vocabulary, added)),
        new long[0],
        new long[0],
        added.id(settings.pad()),
        settings.modelMaxLength());
  }

  /** The most tokens the model takes, or {@link Integer#MAX_VALUE} where the folder sets none. */
  public int modelMaxLength() {
    return modelMaxLength;
  }

  /**
   * The ids of {@code text}, padded or truncated to {@code length}. Truncation drops the end of the
   * text and keeps the end token. Half a surrogate pair counts as U+FFFD.
   *
   * @param length at least 2 for CLIP, 1 for T5, 0 for Qwen2
   * @throws IllegalArgumentException if {@code length} is too small, or the text has over a million
   *     characters
   * @throws IllegalStateException after {@link #close()}
   */
  public TokenIds encode(String text, int length) {
    TokenIds unpadded = encodeUnpadded(text, length);
    long[] ids = Arrays.copyOf(unpadded.ids(), length);
    Arrays.fill(ids, unpadded.ids().length, length, pad);
    return new TokenIds(ids, unpadded.untruncatedLength());
  }

  /** As {@link #encode}, but a text of fewer tokens than {@code maxLength} is not padded. */
  public TokenIds encodeUnpadded(String text, int maxLength) {
    int framing = head.length + tail.length;
    if (maxLength < framing) {
      throw new IllegalArgumentException(
          "length " + maxLength + " is too small; a prompt has at least " + framing + " tokens");
    }
    long[] content = engine.ids(text);
    int kept = Math.min(content.length, maxLength - framing);
    long[] ids = new long[framing + kept];
    System.arraycopy(head, 0, ids, 0, head.length);
    System.arraycopy(content, 0, ids, head.length, kept);
    System.arraycopy(tail, 0, ids, head.length + kept, tail.length);
    return new TokenIds(ids, content.length + framing);
  }

  /** Frees the native tokenizer. Idempotent; waits for prompts being encoded. */
  @Override
  public void close() {
    engine.close();
  }
}
