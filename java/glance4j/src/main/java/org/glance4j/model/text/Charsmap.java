package org.glance4j.model.text;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.CharBuffer;
import java.nio.IntBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/**
 * Checks SentencePiece's compiled character normalization: the size in bytes of a double-array
 * trie, the trie's 32-bit units, and the replacement texts, each ended by a zero byte.
 *
 * <p>The native tokenizer trusts it and ends the process when a unit points outside, so every
 * pointer is checked here. Layout of a unit (darts-clone): bits 0-7 and 31 the label, bit 8 "has a
 * leaf", bit 9 "offset times 256", bits 10-30 the offset; the children of the unit at {@code i} are
 * at {@code i ^ offset ^ label}, its leaf at {@code i ^ offset}. A leaf has bit 31 set and holds an
 * index into the replacements.
 */
final class Charsmap {
  private static final int LEAF = 1 << 31;
  private static final int HAS_LEAF = 1 << 8;

  private Charsmap() {}

  /** What is wrong with {@code charsmap}, or null; an empty one is right. */
  static @Nullable String fault(byte[] charsmap) {
    if (charsmap.length == 0) {
      return null;
    }
    ByteBuffer bytes = ByteBuffer.wrap(charsmap).order(ByteOrder.LITTLE_ENDIAN);
    if (charsmap.length < Integer.BYTES) {
      return "has " + charsmap.length + " bytes, too few for a size";
    }
    long trieBytes = Integer.toUnsignedLong(bytes.getInt());
    if (trieBytes == 0 || trieBytes % Integer.BYTES != 0 || trieBytes > bytes.remaining()) {
      return "its trie cannot have " + trieBytes + " bytes of " + charsmap.length;
    }
    IntBuffer units =
        bytes.slice(Integer.BYTES, (int) trieBytes).order(ByteOrder.LITTLE_ENDIAN).asIntBuffer();
    ByteBuffer texts =
        bytes.slice(Integer.BYTES + (int) trieBytes, bytes.remaining() - (int) trieBytes);
    if (!isUtf8(texts)) {
      return "its replacement texts are not UTF-8";
    }
    for (int i = 0; i < units.limit(); i++) {
      if ((units.get(i) & LEAF) == 0 && !pointsInside(i, units, texts)) {
        return "unit " + i + " of its trie points outside";
      }
    }
    return null;
  }

  private static boolean pointsInside(int index, IntBuffer units, ByteBuffer texts) {
    int unit = units.get(index);
    int offset = (unit >>> 10) << ((unit & (1 << 9)) >>> 6);
    int target = index ^ offset;
    // Any byte may follow, so the whole block of 256 must be there.
    if (target < 0 || (target | 0xFF) >= units.limit()) {
      return false;
    }
    if ((unit & HAS_LEAF) == 0) {
      return true;
    }
    int text = units.get(target) & ~LEAF;
    return text < texts.limit() && !isContinuation(texts.get(text));
  }

  private static boolean isContinuation(byte utf8) {
    return (utf8 & 0xC0) == 0x80;
  }

  private static boolean isUtf8(ByteBuffer texts) {
    try {
      CharBuffer unused = StandardCharsets.UTF_8.newDecoder().decode(texts.duplicate());
      return true;
    } catch (CharacterCodingException e) {
      return false;
    }
  }
}
