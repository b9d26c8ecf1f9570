package org.glance4j.model.text;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.glance4j.ModelFormatException;

/**
 * Reads one protobuf message field by field. After {@link #next()} exactly one of the value getters
 * must be called.
 */
final class ProtoReader {
  private static final int VARINT = 0;
  private static final int FIXED64 = 1;
  private static final int BYTES = 2;
  private static final int FIXED32 = 5;

  private final Path file;
  private final ByteBuffer data;
  private int wireType;
  private int field;

  /**
   * @param file named in errors
   * @param data the message
   */
  ProtoReader(Path file, ByteBuffer data) {
    this.file = file;
    this.data = data.order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Goes to the next field; false at the message's end. */
  boolean next() {
    if (!data.hasRemaining()) {
      return false;
    }
    long tag = readVarint();
    field = (int) (tag >>> 3);
    wireType = (int) tag & 7;
    if (field < 1 || tag >>> 32 != 0) {
      throw error("bad field tag " + tag);
    }
    return true;
  }

  /** The number of the current field. */
  int field() {
    return field;
  }

  /** The current field as an integer that fits 32 bits. */
  int int32() {
    require(VARINT, "an integer");
    return (int) readVarint();
  }

  /** The current field as a 32-bit float. */
  float float32() {
    require(FIXED32, "a float");
    requireRemaining(Float.BYTES);
    return data.getFloat();
  }

  /** The current field as bytes. */
  byte[] bytes() {
    ByteBuffer slice = slice();
    byte[] bytes = new byte[slice.remaining()];
    slice.get(bytes);
    return bytes;
  }

  /** The current field as text. */
  String string() {
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(slice()).toString();
    } catch (CharacterCodingException e) {
      throw error("field " + field + " is not UTF-8 text");
    }
  }

  /** The current field as a message. */
  ProtoReader message() {
    return new ProtoReader(file, slice());
  }

  /** Passes over the current field. */
  void skip() {
    switch (wireType) {
      case VARINT -> readVarint();
      case FIXED64 -> skip(Long.BYTES);
      case BYTES -> slice();
      case FIXED32 -> skip(Integer.BYTES);
      default -> throw error("field " + field + " has unknown type " + wireType);
    }
  }

  private void skip(int bytes) {
    requireRemaining(bytes);
    data.position(data.position() + bytes);
  }

  private ByteBuffer slice() {
    require(BYTES, "text, bytes or a message");
    long length = readVarint();
    if (length < 0 || length > data.remaining()) {
      throw error("field " + field + " has " + length + " bytes, more than are left");
    }
    ByteBuffer slice = data.slice(data.position(), (int) length);
    data.position(data.position() + (int) length);
    return slice;
  }

  private long readVarint() {
    long value = 0;
    for (int shift = 0; shift < Long.SIZE; shift += 7) {
      requireRemaining(1);
      byte b = data.get();
      value |= (long) (b & 0x7F) << shift;
      if (b >= 0) {
        return value;
      }
    }
    throw error("an integer has more than 64 bits");
  }

  private void require(int type, String what) {
    if (wireType != type) {
      throw error("field " + field + " is not " + what);
    }
  }

  private void requireRemaining(int bytes) {
    if (data.remaining() < bytes) {
      throw error("ends in the middle of a value");
    }
  }

  private ModelFormatException error(String reason) {
    return new ModelFormatException(
        file + ": is not a SentencePiece model, or is damaged: " + reason);
  }
}
