package org.glance4j.evaluate;

import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.glance4j.ModelFormatException;
import org.glance4j.Preset;
import org.glance4j.schedule.ScheduleSpec;
import org.jspecify.annotations.Nullable;

/** Reads the text form of a {@link Method}. */
final class MethodText {
  private static final Set<String> KEYS =
      Set.of("schedule", "cfg", "slow", "fast", "scale", "group", "preset");
  private static final String KEYS_IN_ORDER = "schedule, cfg, slow, fast, scale, group and preset";
  private static final Pattern WORD = Pattern.compile("([^\\s=\"]+)=(?:\"([^\"]*)\"|([^\\s\"]+))");
  private static final Pattern NAME = Pattern.compile("([^:]+):\\s+(.*)");

  private MethodText() {}

  static List<Method> read(Path file, Map<String, Preset> presets) {
    List<Method> methods = new ArrayList<>();
    for (TextLine line : TextLine.read(file, "method")) {
      try {
        methods.add(parse(line.text(), presets));
      } catch (IllegalArgumentException e) {
        throw ModelFormatException.in(
            file, "line " + line.number(), String.valueOf(e.getMessage()));
      }
    }
    return methods;
  }

  static Method parse(String text, Map<String, Preset> presets) {
    Matcher line = NAME.matcher(text.strip());
    if (!line.matches()) {
      throw new IllegalArgumentException(
          "\"" + text + "\" is not a method; write NAME: schedule=SCHEDULE and more key=value");
    }
    String name = line.group(1).strip();
    Map<String, String> values = values(line.group(2));
    String group = values.getOrDefault("group", Method.groupOf(name));
    String schedule = values.get("schedule");
    if (values.containsKey("preset")) {
      return Method.of(name, group, preset(values, presets));
    }
    if (schedule == null) {
      throw new IllegalArgumentException(
          "method \"" + name + "\" has no schedule; add for example schedule=base-10");
    }
    return new Method(
        name,
        group,
        ScheduleSpec.parse(schedule),
        values.containsKey("cfg") ? number(values, "cfg") : null,
        path(values, "slow"),
        path(values, "fast"),
        number(values, "scale"));
  }

  private static Preset preset(Map<String, String> values, Map<String, Preset> presets) {
    for (String key : values.keySet()) {
      if (!key.equals("preset") && !key.equals("group")) {
        throw new IllegalArgumentException(
            "\"%s=%s\": a preset says the %s itself; leave one out"
                .formatted(key, values.get(key), key));
      }
    }
    String name = String.valueOf(values.get("preset"));
    Preset preset = presets.get(name);
    if (preset == null) {
      throw new IllegalArgumentException(
          "\"preset=%s\": the model has no such preset; %s"
              .formatted(
                  name,
                  presets.isEmpty()
                      ? "it has none, so write a schedule"
                      : "use " + String.join(" or ", presets.keySet())));
    }
    return preset;
  }

  private static Map<String, String> values(String text) {
    Map<String, String> values = new LinkedHashMap<>();
    Matcher word = WORD.matcher(text);
    int at = 0;
    while (at < text.length()) {
      if (!word.find(at) || word.start() != at) {
        throw new IllegalArgumentException(
            "\"%s\" is not key=value; the keys are %s, and a value with spaces stands in double quotes"
                .formatted(text.substring(at).split("\\s", 2)[0], KEYS_IN_ORDER));
      }
      String key = word.group(1);
      if (!KEYS.contains(key)) {
        throw new IllegalArgumentException(
            "key \"%s\" of \"%s\" is not known; use %s"
                .formatted(key, word.group(), KEYS_IN_ORDER));
      }
      String value = word.group(2) == null ? word.group(3) : word.group(2);
      if (values.put(key, value) != null) {
        throw new IllegalArgumentException(
            "\"" + word.group() + "\" gives " + key + " a second time; leave one out");
      }
      at = word.end();
      while (at < text.length() && Character.isWhitespace(text.charAt(at))) {
        at++;
      }
    }
    return values;
  }

  private static double number(Map<String, String> values, String key) {
    String text = values.getOrDefault(key, "1");
    try {
      return Double.parseDouble(text);
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(
          "\"%s=%s\": %s is not a number; write for example %s=1.5".formatted(key, text, text, key),
          e);
    }
  }

  private static @Nullable Path path(Map<String, String> values, String key) {
    String text = values.get(key);
    if (text == null) {
      return null;
    }
    try {
      return Path.of(text);
    } catch (InvalidPathException e) {
      throw new IllegalArgumentException(
          "\"" + key + "=" + text + "\" is not a file name; name an adapter file", e);
    }
  }
}
