package org.glance4j.model.text;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import java.nio.file.Path;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.glance4j.ModelFormatException;

/**
 * The native tokenizer of Hugging Face's {@code tokenizers}, through DJL's JNI functions. Those are
 * called directly: DJL's own wrapper applies settings of its own to text and ids, and copies a
 * string and two objects per token. Thread-safe.
 */
final class TokenizerEngine implements AutoCloseable {
  /** Bounds the native memory, up to 700 bytes a character: without it the library aborts. */
  private static final int MAX_CHARACTERS = 1 << 20;

  private final Path folder;
  private final TokenizersLibrary library;
  private final ReadWriteLock lock = new ReentrantReadWriteLock();
  private long handle;

  private TokenizerEngine(Path folder, TokenizersLibrary library, long handle) {
    this.folder = folder;
    this.library = library;
    this.handle = handle;
  }

  /**
   * Makes a tokenizer.
   *
   * @param folder where it comes from, for messages
   * @param json in the format of {@code tokenizer.json}; made by {@link EngineJson}, never a file's
   *     own text, because the native parser ends the process on some malformed parts
   */
  static TokenizerEngine create(Path folder, String json) {
    TokenizersLibrary library = NativeTokenizers.library();
    try {
      return new TokenizerEngine(folder, library, library.createTokenizerFromString(json));
    } catch (RuntimeException e) {
      throw new ModelFormatException(
          folder + ": its files do not make a tokenizer: " + e.getMessage(), e);
    }
  }

  /** The ids of {@code text}, without those that mark its beginning and end. */
  long[] ids(String text) {
    if (text.length() > MAX_CHARACTERS) {
      throw new IllegalArgumentException(
          "the prompt has %,d characters; at most %,d are allowed"
              .formatted(text.length(), MAX_CHARACTERS));
    }
    lock.readLock().lock();
    try {
      requireOpen();
      long encoding = encode(UnicodeText.wellFormed(text));
      try {
        return library.getTokenIds(encoding);
      } finally {
        library.deleteEncoding(encoding);
      }
    } finally {
      lock.readLock().unlock();
    }
  }

  private long encode(String text) {
    try {
      return library.encode(handle, text, false);
    } catch (RuntimeException e) {
      throw new ModelFormatException(
          folder + ": its vocabulary cannot encode this prompt: " + e.getMessage(), e);
    }
  }

  private void requireOpen() {
    if (handle == 0) {
      throw new IllegalStateException("the tokenizer is closed");
    }
  }

  @Override
  public void close() {
    lock.writeLock().lock();
    try {
      if (handle != 0) {
        library.deleteTokenizer(handle);
        handle = 0;
      }
    } finally {
      lock.writeLock().unlock();
    }
  }
}
