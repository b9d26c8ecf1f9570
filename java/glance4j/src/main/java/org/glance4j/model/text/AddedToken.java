package org.glance4j.model.text;

import com.fasterxml.jackson.databind.JsonNode;
import org.glance4j.ModelFormatException;

/**
 * A token that is found in the text before the rest is split. The fields are those of {@code
 * tokenizer.json}.
 *
 * @param content its text
 * @param singleWord whether it must stand between word boundaries
 * @param lstrip whether it takes the whitespace before it
 * @param rstrip whether it takes the whitespace behind it
 * @param normalized whether it is looked for in the normalized text
 * @param special whether it is a mark rather than text
 */
record AddedToken(
    String content,
    boolean singleWord,
    boolean lstrip,
    boolean rstrip,
    boolean normalized,
    boolean special) {

  /** A token listed by its text alone. */
  static AddedToken special(String content) {
    return new AddedToken(content, false, false, false, false, true);
  }

  /** Reads a string, or an object with the record's fields in snake case. */
  static AddedToken read(TokenizerFolder files, String file, String item, JsonNode node) {
    if (node.isTextual()) {
      return special(node.textValue());
    }
    JsonNode content = node.path("content");
    if (!content.isTextual()) {
      throw files.error(file, item, node + " is neither a string nor an object with \"content\"");
    }
    boolean special = flag(files, file, item, node, "special", false);
    return new AddedToken(
        content.textValue(),
        flag(files, file, item, node, "single_word", false),
        flag(files, file, item, node, "lstrip", false),
        flag(files, file, item, node, "rstrip", false),
        flag(files, file, item, node, "normalized", !special),
        special);
  }

  private static boolean flag(
      TokenizerFolder files, String file, String item, JsonNode node, String key, boolean absent)
      throws ModelFormatException {
    JsonNode value = node.path(key);
    if (value.isMissingNode()) {
      return absent;
    }
    if (!value.isBoolean()) {
      throw files.error(file, item, key + " " + value + " is not true or false");
    }
    return value.booleanValue();
  }
}
