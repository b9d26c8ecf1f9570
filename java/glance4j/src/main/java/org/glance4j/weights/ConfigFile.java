package org.glance4j.weights;

import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.glance4j.ModelFormatException;
import org.jspecify.annotations.Nullable;

/**
 * One JSON object of a model folder ({@code model_index.json}, {@code config.json}, ...) or in one,
 * read with checked types. Every getter throws {@link ModelFormatException} naming file, key and
 * value. Immutable.
 */
public final class ConfigFile {
  /** Far above any index of shards; keeps a wrong file from filling the heap. */
  private static final long MAX_BYTES = 16L << 20;

  private static final JsonMapper JSON =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private final Path file;
  private final JsonNode root;

  /** What errors put before a key: the keys that lead to this object, each with a dot. */
  private final String prefix;

  private ConfigFile(Path file, JsonNode root, String prefix) {
    this.file = file;
    this.root = root;
    this.prefix = prefix;
  }

  /** Reads {@code file}, which must hold one JSON object. */
  public static ConfigFile read(Path file) {
    InputFile.require(file);
    try {
      long bytes = Files.size(file);
      if (bytes > MAX_BYTES) {
        throw ModelFormatException.in(
            file, "content", "has " + bytes + " bytes; a JSON file of a model is much smaller");
      }
      JsonNode root = JSON.readTree(Files.readAllBytes(file));
      if (root == null || !root.isObject()) {
        throw ModelFormatException.in(file, "content", "is not a JSON object");
      }
      return new ConfigFile(file, root, "");
    } catch (JsonProcessingException e) {
      throw new ModelFormatException(
          file + ": content: is not valid JSON" + line(e) + ": " + e.getOriginalMessage(), e);
    } catch (IOException e) {
      throw InputFile.unreadable(file, e);
    }
  }

  private static String line(JsonProcessingException e) {
    @Nullable JsonLocation location = e.getLocation();
    return location == null ? "" : " (line " + location.getLineNr() + ")";
  }

  /** The file this was read from. */
  public Path file() {
    return file;
  }

  /** Checks {@code _class_name}; a missing one is an error too. */
  public void requireClass(String className) {
    String actual = string("_class_name");
    if (!actual.equals(className)) {
      throw ModelFormatException.in(
          file, "_class_name", "\"" + actual + "\" is not supported; expected " + className);
    }
  }

  /** All keys, sorted. */
  public Set<String> keys() {
    Set<String> keys = new TreeSet<>();
    root.fieldNames().forEachRemaining(keys::add);
    return keys;
  }

  /** True if the key is there with a value other than null. */
  public boolean has(String key) {
    return root.hasNonNull(key);
  }

  /** The value of {@code key} as a string. */
  public String string(String key) {
    JsonNode node = require(key);
    if (!node.isTextual()) {
      throw wrongType(key, node, "a string");
    }
    return node.textValue();
  }

  /** As {@link #string(String)}, or {@code fallback} where the key is missing or null. */
  public String stringOr(String key, String fallback) {
    return has(key) ? string(key) : fallback;
  }

  /** The value of {@code key} as an integer of at least 1. */
  public int positiveInt(String key) {
    int value = integer(key);
    if (value < 1) {
      throw wrongType(key, root.get(key), "an integer of at least 1");
    }
    return value;
  }

  /** As {@link #positiveInt(String)}, or {@code fallback} where the key is missing or null. */
  public int positiveIntOr(String key, int fallback) {
    return has(key) ? positiveInt(key) : fallback;
  }

  /** The value of {@code key} as an integer. */
  public int integer(String key) {
    JsonNode node = require(key);
    if (!node.isIntegralNumber() || !node.canConvertToInt()) {
      throw wrongType(key, node, "an integer");
    }
    return node.intValue();
  }

  /** As {@link #integer(String)}, or {@code fallback} where the key is missing or null. */
  public int integerOr(String key, int fallback) {
    return has(key) ? integer(key) : fallback;
  }

  /** The value of {@code key} as a finite number. */
  public double number(String key) {
    JsonNode node = require(key);
    if (!node.isNumber() || !Double.isFinite(node.doubleValue())) {
      throw wrongType(key, node, "a finite number");
    }
    return node.doubleValue();
  }

  /** As {@link #number(String)}, or {@code fallback} where the key is missing or null. */
  public double numberOr(String key, double fallback) {
    return has(key) ? number(key) : fallback;
  }

  /** The value of {@code key} as a boolean, or {@code fallback} where it is missing or null. */
  public boolean boolOr(String key, boolean fallback) {
    if (!has(key)) {
      return fallback;
    }
    JsonNode node = root.get(key);
    if (!node.isBoolean()) {
      throw wrongType(key, node, "true or false");
    }
    return node.booleanValue();
  }

  /** The value of {@code key} as a list of integers of at least 1. */
  public List<Integer> positiveInts(String key) {
    List<Integer> values = new ArrayList<>();
    for (JsonNode item : array(key)) {
      if (!item.isIntegralNumber() || !item.canConvertToInt() || item.intValue() < 1) {
        throw wrongType(key, root.get(key), "a list of integers of at least 1");
      }
      values.add(item.intValue());
    }
    return List.copyOf(values);
  }

  /** The value of {@code key} as a list of finite numbers. */
  public List<Double> numbers(String key) {
    List<Double> values = new ArrayList<>();
    for (JsonNode item : array(key)) {
      if (!item.isNumber() || !Double.isFinite(item.doubleValue())) {
        throw wrongType(key, root.get(key), "a list of finite numbers");
      }
      values.add(item.doubleValue());
    }
    return List.copyOf(values);
  }

  /** The value of {@code key} as a list of booleans. */
  public List<Boolean> bools(String key) {
    List<Boolean> values = new ArrayList<>();
    for (JsonNode item : array(key)) {
      if (!item.isBoolean()) {
        throw wrongType(key, root.get(key), "a list of true and false");
      }
      values.add(item.booleanValue());
    }
    return List.copyOf(values);
  }

  /** The value of {@code key} as a list of strings. */
  public List<String> strings(String key) {
    List<String> values = new ArrayList<>();
    for (JsonNode item : array(key)) {
      if (!item.isTextual()) {
        throw wrongType(key, root.get(key), "a list of strings");
      }
      values.add(item.textValue());
    }
    return List.copyOf(values);
  }

  /** The value of {@code key} as a map of strings, in the file's order. */
  public Map<String, String> stringMap(String key) {
    JsonNode node = require(key);
    if (!node.isObject()) {
      throw wrongType(key, node, "an object of strings");
    }
    Map<String, String> values = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : node.properties()) {
      if (!entry.getValue().isTextual()) {
        throw wrongType(key + "." + entry.getKey(), entry.getValue(), "a string");
      }
      values.put(entry.getKey(), entry.getValue().textValue());
    }
    return Collections.unmodifiableMap(values);
  }

  /** The object that is the value of {@code key}; its errors name a key as {@code key.inner}. */
  public ConfigFile object(String key) {
    JsonNode node = require(key);
    if (!node.isObject()) {
      throw wrongType(key, node, "an object");
    }
    return new ConfigFile(file, node, prefix + InputFile.shorten(key) + ".");
  }

  /** Checks that there is no key but these. */
  public void requireOnly(List<String> known) {
    for (String key : keys()) {
      if (!known.contains(key)) {
        throw error(InputFile.shorten(key), "is not a known key; use " + known);
      }
    }
  }

  /** True if {@code key} is a list of nothing but nulls. */
  boolean isListOfNulls(String key) {
    JsonNode node = root.path(key);
    for (JsonNode item : node) {
      if (!item.isNull()) {
        return false;
      }
    }
    return node.isArray();
  }

  /** True if {@code key} is a list. */
  boolean isList(String key) {
    return root.path(key).isArray();
  }

  /** The whole object, for nested values that no getter reaches. */
  public JsonNode json() {
    return root;
  }

  /** An error about {@code key} of this file. */
  public ModelFormatException error(String key, String reason) {
    return ModelFormatException.in(file, prefix + key, reason);
  }

  private JsonNode array(String key) {
    JsonNode node = require(key);
    if (!node.isArray()) {
      throw wrongType(key, node, "a list");
    }
    return node;
  }

  private JsonNode require(String key) {
    JsonNode node = root.get(key);
    if (node == null || node.isNull()) {
      throw error(key, "is missing");
    }
    return node;
  }

  private ModelFormatException wrongType(String key, @Nullable JsonNode node, String expected) {
    return error(InputFile.shorten(key), InputFile.shorten(node + "") + " is not " + expected);
  }
}
