package org.glance4j.model.text;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.glance4j.ModelFormatException;
import org.glance4j.model.text.UnigramVocabulary.Piece;

/**
 * What a tokenizer needs of a SentencePiece model file: the protobuf message {@code ModelProto} of
 * sentencepiece_model.proto.
 *
 * @param pieces the pieces by id
 * @param unknownId the id of the piece of type UNKNOWN
 * @param charsmap the compiled character normalization; empty for none
 */
@SuppressWarnings("ArrayRecordComponent") // Compared by nothing; copying would only cost.
record SentencePieceModel(List<Piece> pieces, int unknownId, byte[] charsmap) {
  private static final int UNIGRAM = 1;
  private static final int UNKNOWN = 2;

  /** Reads {@code file}, which must hold a unigram model. */
  static SentencePieceModel read(Path file) {
    try {
      return read(file, new ProtoReader(file, ByteBuffer.wrap(Files.readAllBytes(file))));
    } catch (IOException e) {
      throw new ModelFormatException(file + ": cannot be read: " + e.getMessage(), e);
    }
  }

  private static SentencePieceModel read(Path file, ProtoReader model) {
    List<Piece> pieces = new ArrayList<>();
    int unknownId = -1;
    byte[] charsmap = {};
    while (model.next()) {
      switch (model.field()) {
        case 1 -> {
          if (readPiece(model.message(), pieces) == UNKNOWN) {
            unknownId = pieces.size() - 1;
          }
        }
        case 2 -> requireUnigram(file, model.message());
        case 3 -> charsmap = readCharsmap(model.message());
        default -> model.skip();
      }
    }
    return new SentencePieceModel(pieces, unknownId, charsmap);
  }

  /** Adds a {@code SentencePiece} message to {@code pieces}; returns its type. */
  private static int readPiece(ProtoReader message, List<Piece> pieces) {
    String text = "";
    float score = 0;
    int type = 1;
    while (message.next()) {
      switch (message.field()) {
        case 1 -> text = message.string();
        case 2 -> score = message.float32();
        case 3 -> type = message.int32();
        default -> message.skip();
      }
    }
    pieces.add(new Piece(text, score));
    return type;
  }

  private static void requireUnigram(Path file, ProtoReader trainerSpec) {
    while (trainerSpec.next()) {
      if (trainerSpec.field() != 3) {
        trainerSpec.skip();
        continue;
      }
      int type = trainerSpec.int32();
      if (type != UNIGRAM) {
        throw ModelFormatException.in(
            file, "model_type", type + " is not supported; expected " + UNIGRAM + " (unigram)");
      }
    }
  }

  private static byte[] readCharsmap(ProtoReader normalizerSpec) {
    byte[] charsmap = {};
    while (normalizerSpec.next()) {
      if (normalizerSpec.field() == 2) {
        charsmap = normalizerSpec.bytes();
      } else {
        normalizerSpec.skip();
      }
    }
    return charsmap;
  }
}
