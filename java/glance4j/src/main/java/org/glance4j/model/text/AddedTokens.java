package org.glance4j.model.text;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Added tokens with their ids: a token of the vocabulary keeps its id there, any other gets the
 * next one behind the vocabulary, as the native tokenizer numbers them.
 */
final class AddedTokens {
  /** One token and its id. */
  record Entry(AddedToken token, int id) {}

  private final List<Entry> entries = new ArrayList<>();
  private final Map<String, Integer> ids = new HashMap<>();

  /**
   * @param tokens in the order they are added; no content twice
   * @param vocabulary the ids of the vocabulary
   */
  AddedTokens(List<AddedToken> tokens, Map<String, Integer> vocabulary) {
    int next = vocabulary.size();
    for (AddedToken token : tokens) {
      Integer known = vocabulary.get(token.content());
      int id = known == null ? next : known;
      // A vocabulary with gaps has ids above its size; numbering goes on behind the last one used.
      next = Math.max(next, id + 1);
      entries.add(new Entry(token, id));
      ids.put(token.content(), id);
    }
  }

  List<Entry> entries() {
    return entries;
  }

  /** True if {@code content} is an added token. */
  boolean contains(String content) {
    return ids.containsKey(content);
  }

  /** The id of the added token {@code content}. */
  int id(String content) {
    Integer id = ids.get(content);
    if (id == null) {
      throw new IllegalArgumentException("\"" + content + "\" is not an added token");
    }
    return id;
  }
}
