package org.glance4j.lora;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.file.Path;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import org.glance4j.ModelFormatException;
import org.glance4j.weights.SafetensorsHeader;
import org.jspecify.annotations.Nullable;

/**
 * What the header key {@code lora_adapter_metadata} says of the transformer's adapter: PEFT's
 * configuration as a JSON string. Fields other than the rank's, alpha's and {@code use_rslora} are
 * ignored. Immutable.
 */
final class AdapterMetadata {
  private static final String KEY = "lora_adapter_metadata";
  private static final String RANK = "transformer.r";
  private static final String ALPHA = "transformer.lora_alpha";
  private static final String RANKS = "transformer.rank_pattern";
  private static final String ALPHAS = "transformer.alpha_pattern";
  private static final String RSLORA = "transformer.use_rslora";
  private static final JsonMapper JSON = new JsonMapper();

  private final Path file;
  private final @Nullable Double rank;
  private final @Nullable Double alpha;
  private final Map<String, Double> ranks;
  private final Map<String, Double> alphas;
  private final boolean rootOfRank;

  private AdapterMetadata(Path file, JsonNode json) {
    this.file = file;
    this.rank = number(RANK, json.path(RANK));
    this.alpha = number(ALPHA, json.path(ALPHA));
    this.ranks = numbers(RANKS, json.path(RANKS));
    this.alphas = numbers(ALPHAS, json.path(ALPHAS));
    this.rootOfRank = json.path(RSLORA).asBoolean(false);
  }

  static AdapterMetadata read(SafetensorsHeader header) {
    String text = header.metadata().getOrDefault(KEY, "{}");
    try {
      JsonNode json = JSON.readTree(text);
      if (!json.isObject()) {
        throw ModelFormatException.in(header.file(), KEY, "is not a JSON object");
      }
      return new AdapterMetadata(header.file(), json);
    } catch (JsonProcessingException e) {
      throw new ModelFormatException(
          header.file() + ": " + KEY + ": is not valid JSON: " + e.getOriginalMessage(), e);
    }
  }

  /**
   * The scale of the module {@code name}: alpha / rank, or alpha / sqrt(rank) where the file asks
   * for it (rsLoRA, arXiv 2312.03732). Empty if the file gives no alpha.
   */
  OptionalDouble scale(String name, long actualRank) {
    Double expected = find(ranks, name, rank);
    if (expected != null && expected != actualRank) {
      throw ModelFormatException.in(
          file, name, "has rank " + actualRank + ", but " + KEY + " says " + expected);
    }
    Double found = find(alphas, name, alpha);
    if (found == null) {
      return OptionalDouble.empty();
    }
    double divisor = actualRank;
    return OptionalDouble.of(found / (rootOfRank ? Math.sqrt(divisor) : divisor));
  }

  /** Fails if a rank or alpha is given for a name that none of {@code modules} has. */
  void requireAllUsed(Collection<String> modules) {
    for (Map<String, Double> patterns : List.of(ranks, alphas)) {
      for (String pattern : patterns.keySet()) {
        if (modules.stream().noneMatch(name -> matches(pattern, name))) {
          throw ModelFormatException.in(
              file, KEY, "names \"" + pattern + "\", which no linear in this file is called");
        }
      }
    }
  }

  private static @Nullable Double find(
      Map<String, Double> patterns, String name, @Nullable Double fallback) {
    for (Map.Entry<String, Double> entry : patterns.entrySet()) {
      if (matches(entry.getKey(), name)) {
        return entry.getValue();
      }
    }
    return fallback;
  }

  /** PEFT's rule, but for names only, not regular expressions: the whole name or its end. */
  private static boolean matches(String pattern, String name) {
    return name.equals(pattern) || name.endsWith("." + pattern);
  }

  private Map<String, Double> numbers(String key, JsonNode node) {
    Map<String, Double> values = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : node.properties()) {
      Double value = number(key + ": " + entry.getKey(), entry.getValue());
      if (value != null) {
        values.put(entry.getKey(), value);
      }
    }
    return values;
  }

  private @Nullable Double number(String key, JsonNode node) {
    if (node.isMissingNode() || node.isNull()) {
      return null;
    }
    double value = node.doubleValue();
    if (!node.isNumber() || !(value > 0 && value < Double.POSITIVE_INFINITY)) {
      throw ModelFormatException.in(
          file, KEY, key + " is " + node + ", not a finite number above 0");
    }
    return value;
  }
}
