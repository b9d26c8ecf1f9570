package org.glance4j.model.text;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The vocabulary of a byte-pair encoding.
 *
 * @param ids the id of each piece
 * @param merges the pairs of pieces that are joined, most wanted first
 */
record BpeVocabulary(Map<String, Integer> ids, List<Merge> merges) {
  private static final String TOKENIZER = "tokenizer.json";
  private static final String VOCAB = "vocab.json";
  private static final String MERGES = "merges.txt";

  /** Two pieces that are joined into one. */
  record Merge(String left, String right) {}

  /** Reads {@code tokenizer.json}, or {@code vocab.json} and {@code merges.txt}. */
  static BpeVocabulary read(TokenizerFolder files) {
    if (files.has(TOKENIZER)) {
      JsonNode model = files.json(TOKENIZER).path("model");
      String type = model.path("type").asText();
      if (!type.equals("BPE")) {
        throw files.error(
            TOKENIZER, "model.type", "\"" + type + "\" is not supported; expected BPE");
      }
      Map<String, Integer> ids = ids(files, TOKENIZER, model.path("vocab"));
      return new BpeVocabulary(ids, mergesOfJson(files, model.path("merges"), ids));
    }
    if (files.has(VOCAB) && files.has(MERGES)) {
      Map<String, Integer> ids = ids(files, VOCAB, files.json(VOCAB));
      return new BpeVocabulary(ids, mergesOfText(files, ids));
    }
    throw files.noVocabulary("tokenizer.json, or vocab.json and merges.txt");
  }

  private static Map<String, Integer> ids(TokenizerFolder files, String file, JsonNode vocab) {
    if (!vocab.isObject() || vocab.isEmpty()) {
      throw files.error(file, "vocabulary", "is not an object that maps pieces to ids");
    }
    Map<String, Integer> ids = new LinkedHashMap<>();
    Set<Integer> used = new HashSet<>();
    for (Map.Entry<String, JsonNode> entry : vocab.properties()) {
      JsonNode id = entry.getValue();
      if (!id.isIntegralNumber() || !id.canConvertToInt() || id.intValue() < 0) {
        throw files.error(
            file, "piece \"" + entry.getKey() + "\"", id + " is not an id of at least 0");
      }
      if (!used.add(id.intValue())) {
        throw files.error(
            file, "piece \"" + entry.getKey() + "\"", "id " + id + " belongs to another piece too");
      }
      ids.put(entry.getKey(), id.intValue());
    }
    return ids;
  }

  private static List<Merge> mergesOfJson(
      TokenizerFolder files, JsonNode merges, Map<String, Integer> ids) {
    if (!merges.isArray()) {
      throw files.error(TOKENIZER, "model.merges", "is not a list");
    }
    List<Merge> list = new ArrayList<>(merges.size());
    for (JsonNode merge : merges) {
      String item = "model.merges[" + list.size() + "]";
      boolean pair =
          merge.isArray()
              && merge.size() == 2
              && merge.get(0).isTextual()
              && merge.get(1).isTextual();
      if (!pair && !merge.isTextual()) {
        throw files.error(TOKENIZER, item, merge + " is not a pair of pieces");
      }
      list.add(
          pair
              ? merge(files, TOKENIZER, item, merge.get(0).asText(), merge.get(1).asText(), ids)
              : merge(files, TOKENIZER, item, merge.asText(), ids));
    }
    return list;
  }

  private static List<Merge> mergesOfText(TokenizerFolder files, Map<String, Integer> ids) {
    List<Merge> list = new ArrayList<>();
    int number = 0;
    // Not readAllLines: a carriage return alone does not end a line here.
    for (String line : text(files).split("\n", -1)) {
      number++;
      String pair = line.endsWith("\r") ? line.substring(0, line.length() - 1) : line;
      if (!pair.isEmpty() && !pair.startsWith("#version")) {
        list.add(merge(files, MERGES, "line " + number, pair, ids));
      }
    }
    return list;
  }

  private static String text(TokenizerFolder files) {
    try {
      return Files.readString(files.file(MERGES), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw files.error(MERGES, "content", "cannot be read as UTF-8: " + e.getMessage());
    }
  }

  private static Merge merge(
      TokenizerFolder files, String file, String item, String pair, Map<String, Integer> ids) {
    String[] pieces = pair.split(" ", -1);
    if (pieces.length != 2) {
      throw files.error(file, item, "\"" + pair + "\" is not two pieces with a space between");
    }
    return merge(files, file, item, pieces[0], pieces[1], ids);
  }

  private static Merge merge(
      TokenizerFolder files,
      String file,
      String item,
      String left,
      String right,
      Map<String, Integer> ids) {
    for (String piece : List.of(left, right, left + right)) {
      if (!ids.containsKey(piece)) {
        throw files.error(file, item, "\"" + piece + "\" is not in the vocabulary");
      }
    }
    return new Merge(left, right);
  }
}
