package org.glance4j.model.text;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The vocabulary of a unigram language model, as SentencePiece trains it.
 *
 * @param pieces the pieces; the index is the id
 * @param unknownId the id of text that no piece covers
 * @param charsmap SentencePiece's compiled character normalization; empty for none
 */
@SuppressWarnings("ArrayRecordComponent") // Compared by nothing; copying would only cost.
record UnigramVocabulary(List<Piece> pieces, int unknownId, byte[] charsmap) {
  private static final String TOKENIZER = "tokenizer.json";
  private static final String SENTENCEPIECE = "spiece.model";

  /** A piece and its log probability. */
  record Piece(String text, double score) {}

  /** Reads {@code tokenizer.json} or {@code spiece.model}. */
  static UnigramVocabulary read(TokenizerFolder files) {
    if (files.has(TOKENIZER)) {
      return ofJson(files).check(files, TOKENIZER);
    }
    if (files.has(SENTENCEPIECE)) {
      return ofSentencePiece(files).check(files, SENTENCEPIECE);
    }
    throw files.noVocabulary("tokenizer.json or spiece.model");
  }

  /** The id of each piece. */
  Map<String, Integer> ids() {
    Map<String, Integer> ids = new HashMap<>();
    for (int id = 0; id < pieces.size(); id++) {
      ids.put(pieces.get(id).text(), id);
    }
    return ids;
  }

  private static UnigramVocabulary ofJson(TokenizerFolder files) {
    JsonNode root = files.json(TOKENIZER);
    JsonNode model = root.path("model");
    String type = model.path("type").asText();
    if (!type.equals("Unigram")) {
      throw files.error(
          TOKENIZER, "model.type", "\"" + type + "\" is not supported; expected Unigram");
    }
    List<Piece> pieces = new ArrayList<>();
    for (JsonNode piece : model.path("vocab")) {
      if (!piece.path(0).isTextual() || !piece.path(1).isNumber()) {
        throw files.error(
            TOKENIZER, "model.vocab[" + pieces.size() + "]", piece + " is not a piece and a score");
      }
      pieces.add(new Piece(piece.get(0).textValue(), piece.get(1).doubleValue()));
    }
    JsonNode unknown = model.path("unk_id");
    if (!unknown.canConvertToInt()) {
      throw files.error(TOKENIZER, "model.unk_id", unknown + " is not an id");
    }
    return new UnigramVocabulary(
        pieces, unknown.intValue(), charsmapOfJson(files, root.path("normalizer")));
  }

  private static byte[] charsmapOfJson(TokenizerFolder files, JsonNode normalizer) {
    if (normalizer.path("type").asText().equals("Sequence")) {
      for (JsonNode part : normalizer.path("normalizers")) {
        byte[] charsmap = charsmapOfJson(files, part);
        if (charsmap.length > 0) {
          return charsmap;
        }
      }
    }
    if (!normalizer.path("type").asText().equals("Precompiled")) {
      return new byte[0];
    }
    try {
      return Base64.getDecoder().decode(normalizer.path("precompiled_charsmap").asText());
    } catch (IllegalArgumentException e) {
      throw files.error(
          TOKENIZER, "normalizer.precompiled_charsmap", "is not base64: " + e.getMessage());
    }
  }

  private static UnigramVocabulary ofSentencePiece(TokenizerFolder files) {
    SentencePieceModel model = SentencePieceModel.read(files.file(SENTENCEPIECE));
    List<Piece> pieces = new ArrayList<>(model.pieces());
    // The model file ends where T5's sentinels begin, the last one first.
    List<String> sentinels = TokenizerSettings.t5ExtraTokens(files);
    for (int i = sentinels.size() - 1; i >= 0; i--) {
      pieces.add(new Piece(sentinels.get(i), 0));
    }
    return new UnigramVocabulary(pieces, model.unknownId(), model.charsmap());
  }

  private UnigramVocabulary check(TokenizerFolder files, String file) {
    if (unknownId < 0 || unknownId >= pieces.size()) {
      throw files.error(
          file,
          "unknown id",
          unknownId + " is not the id of one of the " + pieces.size() + " pieces");
    }
    for (int id = 0; id < pieces.size(); id++) {
      Piece piece = pieces.get(id);
      if (piece.text().isEmpty() || !Double.isFinite(piece.score())) {
        throw files.error(
            file,
            "piece " + id,
            "\"" + piece.text() + "\" with score " + piece.score() + " is empty or not finite");
      }
    }
    String fault = Charsmap.fault(charsmap);
    if (fault != null) {
      throw files.error(file, "precompiled charsmap", fault);
    }
    return this;
  }
}
