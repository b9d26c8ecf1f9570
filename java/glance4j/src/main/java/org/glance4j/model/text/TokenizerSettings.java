package org.glance4j.model.text;

import static java.util.stream.Collectors.toCollection;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.glance4j.ModelFormatException;

/**
 * What a tokenizer folder says besides its vocabulary, merged as transformers 5 does: {@code
 * tokenizer_config.json}, and where that lists no {@code added_tokens_decoder}, also {@code
 * special_tokens_map.json}, {@code added_tokens.json} and the {@code added_tokens} of {@code
 * tokenizer.json}.
 *
 * @param addedTokens all added tokens, the marks among them, in the order they are added
 * @param marks the text of each mark ({@code bos_token}, ...) by its key
 * @param modelMaxLength the most tokens the model takes; {@link Integer#MAX_VALUE} if not set
 */
record TokenizerSettings(
    List<AddedToken> addedTokens, Map<String, String> marks, int modelMaxLength) {
  private static final String CONFIG = "tokenizer_config.json";
  private static final String SPECIAL_MAP = "special_tokens_map.json";
  private static final String ADDED = "added_tokens.json";
  private static final String TOKENIZER = "tokenizer.json";

  private static final List<String> MARKS =
      List.of(
          "bos_token",
          "eos_token",
          "unk_token",
          "sep_token",
          "pad_token",
          "cls_token",
          "mask_token");

  /** How many {@code <extra_id_N>} T5 has where its folder does not say. */
  private static final int T5_EXTRA_IDS = 100;

  static TokenizerSettings clip(TokenizerFolder files) {
    requireRightSide(files, "padding_side");
    String end = "<|endoftext|>";
    return read(
        files,
        Map.of(
            "bos_token", "<|startoftext|>", "eos_token", end, "unk_token", end, "pad_token", end),
        List.of());
  }

  static TokenizerSettings t5(TokenizerFolder files) {
    requireRightSide(files, "padding_side");
    return read(
        files,
        Map.of("eos_token", "</s>", "unk_token", "<unk>", "pad_token", "<pad>"),
        t5ExtraTokens(files));
  }

  /** Whatever side its folder pads on: what is padded here never depends on it. */
  static TokenizerSettings qwen2(TokenizerFolder files) {
    if (files.json(CONFIG).path("add_prefix_space").asBoolean(false)) {
      throw files.error(CONFIG, "add_prefix_space", "true is not supported; expected false");
    }
    String end = "<|endoftext|>";
    return read(files, Map.of("eos_token", end, "unk_token", end, "pad_token", end), List.of());
  }

  /** T5's sentinels: {@code <extra_id_0>}, ... */
  static List<String> t5ExtraTokens(TokenizerFolder files) {
    JsonNode count = files.json(CONFIG).path("extra_ids");
    if (!count.isMissingNode() && !(count.canConvertToInt() && count.intValue() >= 0)) {
      throw files.error(CONFIG, "extra_ids", count + " is not a number of tokens");
    }
    return IntStream.range(0, count.asInt(T5_EXTRA_IDS))
        .mapToObj(i -> "<extra_id_" + i + ">")
        .toList();
  }

  String bos() {
    return mark("bos_token");
  }

  String eos() {
    return mark("eos_token");
  }

  String unknown() {
    return mark("unk_token");
  }

  String pad() {
    return mark("pad_token");
  }

  private String mark(String key) {
    String mark = marks.get(key);
    if (mark == null) {
      throw new IllegalArgumentException(key + " is not a mark of this tokenizer");
    }
    return mark;
  }

  private static TokenizerSettings read(
      TokenizerFolder files, Map<String, String> defaults, List<String> extraTokens) {
    requireRightSide(files, "truncation_side");
    boolean legacy = isLegacy(files);

    Map<String, AddedToken> marks = new LinkedHashMap<>();
    for (String key : MARKS) {
      if (defaults.containsKey(key)) {
        marks.put(key, AddedToken.special(defaults.get(key)));
      }
      readMark(files, CONFIG, key, marks);
      if (legacy) {
        readMark(files, SPECIAL_MAP, key, marks);
      }
    }
    List<AddedToken> extras = extras(files, legacy, extraTokens);
    Map<String, AddedToken> all = new LinkedHashMap<>();
    (legacy ? legacyListed(files, marks, extras) : listed(files))
        .values()
        .forEach(token -> all.put(token.content(), token));
    marks.values().forEach(token -> all.putIfAbsent(token.content(), token));
    extras.forEach(token -> all.putIfAbsent(token.content(), token));

    Map<String, String> texts = new LinkedHashMap<>();
    marks.forEach((key, token) -> texts.put(key, token.content()));
    return new TokenizerSettings(List.copyOf(all.values()), texts, modelMaxLength(files));
  }

  private static boolean isLegacy(TokenizerFolder files) {
    return !files.json(CONFIG).hasNonNull("added_tokens_decoder");
  }

  /** The error for an added token that a model needs and none of the files lists. */
  static ModelFormatException missing(TokenizerFolder files, String token) {
    String file =
        Stream.of(ADDED, TOKENIZER)
            .filter(name -> isLegacy(files) && files.has(name))
            .findFirst()
            .orElse(CONFIG);
    return files.error(
        file,
        token,
        "is not among the added tokens, but the model's prompts need it; copy the folder whole");
  }

  private static void readMark(
      TokenizerFolder files, String file, String key, Map<String, AddedToken> marks) {
    JsonNode node = files.json(file).path(key);
    if (!node.isMissingNode() && !node.isNull()) {
      marks.put(key, AddedToken.read(files, file, key, node));
    }
  }

  private static TreeMap<Integer, AddedToken> listed(TokenizerFolder files) {
    TreeMap<Integer, AddedToken> tokens = new TreeMap<>();
    for (Map.Entry<String, JsonNode> entry :
        files.json(CONFIG).get("added_tokens_decoder").properties()) {
      String item = "added_tokens_decoder." + entry.getKey();
      try {
        tokens.put(
            Integer.valueOf(entry.getKey()),
            AddedToken.read(files, CONFIG, item, entry.getValue()));
      } catch (NumberFormatException e) {
        throw files.error(CONFIG, item, "is not under a token id");
      }
    }
    return tokens;
  }

  private static TreeMap<Integer, AddedToken> legacyListed(
      TokenizerFolder files, Map<String, AddedToken> marks, List<AddedToken> extras) {
    Set<String> special =
        marks.values().stream().map(AddedToken::content).collect(toCollection(LinkedHashSet::new));
    extras.forEach(token -> special.add(token.content()));

    TreeMap<Integer, AddedToken> tokens = new TreeMap<>();
    for (Map.Entry<String, JsonNode> entry : files.json(ADDED).properties()) {
      String text = entry.getKey();
      boolean mark = special.contains(text);
      tokens.put(
          id(files, ADDED, text, entry.getValue()),
          new AddedToken(text, false, false, false, !mark, mark));
    }
    int index = 0;
    for (JsonNode node : files.json(TOKENIZER).path("added_tokens")) {
      String item = "added_tokens[" + index++ + "]";
      tokens.put(
          id(files, TOKENIZER, item, node.path("id")),
          AddedToken.read(files, TOKENIZER, item, node));
    }
    return tokens;
  }

  private static int id(TokenizerFolder files, String file, String item, JsonNode node) {
    if (!node.isIntegralNumber() || !node.canConvertToInt() || node.intValue() < 0) {
      throw files.error(file, item, "its id " + node + " is not an integer of at least 0");
    }
    return node.intValue();
  }

  private static List<AddedToken> extras(
      TokenizerFolder files, boolean legacy, List<String> absent) {
    String[][] places = {
      {CONFIG, "extra_special_tokens"},
      {CONFIG, "additional_special_tokens"},
      {SPECIAL_MAP, "extra_special_tokens"},
      {SPECIAL_MAP, "additional_special_tokens"},
    };
    List<AddedToken> tokens = new ArrayList<>();
    boolean found = false;
    for (String[] place : places) {
      if (!place[0].equals(CONFIG) && !legacy) {
        continue;
      }
      JsonNode list = files.json(place[0]).path(place[1]);
      found |= list.isArray();
      for (JsonNode node : list) {
        tokens.add(AddedToken.read(files, place[0], place[1], node));
      }
    }
    return found ? tokens : absent.stream().map(AddedToken::special).toList();
  }

  private static int modelMaxLength(TokenizerFolder files) {
    JsonNode node = files.json(CONFIG).path("model_max_length");
    if (node.isMissingNode() || node.isNull()) {
      return Integer.MAX_VALUE;
    }
    if (!node.isNumber() || node.doubleValue() < 1) {
      throw files.error(CONFIG, "model_max_length", node + " is not a number of at least 1");
    }
    // "Not set" is written as 1e30.
    return (int) Math.min(node.doubleValue(), Integer.MAX_VALUE);
  }

  private static void requireRightSide(TokenizerFolder files, String key) {
    String side = files.json(CONFIG).path(key).asText("right");
    if (!side.equals("right")) {
      throw files.error(CONFIG, key, "\"" + side + "\" is not supported; expected \"right\"");
    }
  }
}
