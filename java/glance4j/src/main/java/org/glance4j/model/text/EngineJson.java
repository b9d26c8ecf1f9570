package org.glance4j.model.text;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Base64;

/**
 * Writes a checked vocabulary in the format of {@code tokenizer.json} for the native tokenizer. The
 * steps around the vocabulary are those transformers' tokenizer classes set, whatever a folder's
 * own {@code tokenizer.json} says of them: the classes ignore it too.
 */
final class EngineJson {
  private static final JsonMapper MAPPER = new JsonMapper();
  private static final JsonNodeFactory JSON = JsonNodeFactory.instance;

  /** How CLIP splits text into words; each match is a word, what lies between is dropped. */
  private static final String CLIP_WORDS =
      "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d"
          + "|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

  /**
   * How Qwen2 splits text: contractions; words with one mark or space before; digits, each alone;
   * marks with a space before and the line ends behind; whitespace, whose last space goes with the
   * word behind it.
   */
  private static final String QWEN2_WORDS =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
          + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

  private EngineJson() {}

  /** CLIP: lower-case words, split into byte-level BPE pieces; a word's last piece is marked. */
  static String clip(BpeVocabulary vocabulary, String unknown, AddedTokens added) {
    ObjectNode model = bpe(vocabulary, "</w>").put("unk_token", unknown);

    ObjectNode whitespace = typed("Replace").put("content", " ");
    whitespace.putObject("pattern").put("Regex", "\\s+");
    ObjectNode normalizer = sequence("normalizers", typed("NFC"), whitespace, typed("Lowercase"));

    ObjectNode words = split(CLIP_WORDS, "Removed").put("invert", true);
    ObjectNode steps = sequence("pretokenizers", words, bytes().put("use_regex", true));
    return tokenizer(normalizer, steps, model, added);
  }

  /** Qwen2: words, as they are, split into byte-level BPE pieces. */
  static String qwen2(BpeVocabulary vocabulary, AddedTokens added) {
    ObjectNode words = split(QWEN2_WORDS, "Isolated").put("invert", false);
    ObjectNode steps = sequence("pretokenizers", words, bytes().put("use_regex", false));
    return tokenizer(typed("NFC"), steps, bpe(vocabulary, "").putNull("unk_token"), added);
  }

  /** T5: normalized, split at whitespace, each word begun by U+2581, split into unigram pieces. */
  static String t5(UnigramVocabulary vocabulary, AddedTokens added) {
    ObjectNode model = typed("Unigram").put("unk_id", vocabulary.unknownId());
    model.put("byte_fallback", false);
    ArrayNode pieces = model.putArray("vocab");
    vocabulary.pieces().forEach(piece -> pieces.addArray().add(piece.text()).add(piece.score()));

    ObjectNode normalizer = sequence("normalizers");
    if (vocabulary.charsmap().length > 0) {
      String charsmap = Base64.getEncoder().encodeToString(vocabulary.charsmap());
      normalizer = typed("Precompiled").put("precompiled_charsmap", charsmap);
    }
    ObjectNode marks = typed("Metaspace").put("replacement", "\u2581");
    marks.put("prepend_scheme", "always").put("split", true);
    ObjectNode words = sequence("pretokenizers", typed("WhitespaceSplit"), marks);
    return tokenizer(normalizer, words, model, added);
  }

  private static ObjectNode bpe(BpeVocabulary vocabulary, String endOfWord) {
    ObjectNode model = typed("BPE").put("fuse_unk", false);
    model.put("continuing_subword_prefix", "").put("end_of_word_suffix", endOfWord);
    ObjectNode ids = model.putObject("vocab");
    vocabulary.ids().forEach(ids::put);
    ArrayNode merges = model.putArray("merges");
    vocabulary.merges().forEach(m -> merges.addArray().add(m.left()).add(m.right()));
    return model;
  }

  private static ObjectNode split(String regex, String behavior) {
    ObjectNode split = typed("Split").put("behavior", behavior);
    split.putObject("pattern").put("Regex", regex);
    return split;
  }

  private static ObjectNode bytes() {
    return typed("ByteLevel").put("add_prefix_space", false).put("trim_offsets", true);
  }

  private static String tokenizer(
      ObjectNode normalizer, ObjectNode words, ObjectNode model, AddedTokens added) {
    ObjectNode root = JSON.objectNode().put("version", "1.0");
    root.putNull("truncation").putNull("padding");
    ArrayNode tokens = root.putArray("added_tokens");
    added.entries().forEach(entry -> tokens.add(addedToken(entry)));
    root.set("normalizer", normalizer);
    root.set("pre_tokenizer", words);
    root.putNull("post_processor").putNull("decoder");
    root.set("model", model);
    try {
      return MAPPER.writeValueAsString(root);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a tree of plain values cannot fail to print", e);
    }
  }

  private static ObjectNode addedToken(AddedTokens.Entry entry) {
    AddedToken token = entry.token();
    return JSON.objectNode()
        .put("id", entry.id())
        .put("content", token.content())
        .put("single_word", token.singleWord())
        .put("lstrip", token.lstrip())
        .put("rstrip", token.rstrip())
        .put("normalized", token.normalized())
        .put("special", token.special());
  }

  private static ObjectNode typed(String type) {
    return JSON.objectNode().put("type", type);
  }

  private static ObjectNode sequence(String key, ObjectNode... parts) {
    ObjectNode sequence = typed("Sequence");
    ArrayNode list = sequence.putArray(key);
    for (ObjectNode part : parts) {
      list.add(part);
    }
    return sequence;
  }
}
