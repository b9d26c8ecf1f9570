package org.glance4j;

import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.glance4j.schedule.ScheduleSpec;
import org.glance4j.weights.ConfigFile;
import org.jspecify.annotations.Nullable;

/**
 * How a model is best sampled. A model folder of any family may say it in a file {@value
 * #FILE_NAME} beside its {@code model_index.json}:
 *
 * <pre>{@code
 * {"presets": {
 *   "default": {
 *     "schedule": "custom:[slow 1.0, slow 0.95, fast 0.6]",
 *     "cfg": 3.5,
 *     "slow_lora": "slow.safetensors",
 *     "fast_lora": "fast.safetensors",
 *     "lora_scale": 1.0},
 *   "quick": {"schedule": "base-8"}}}
 * }</pre>
 *
 * <p>Only {@code schedule} is needed: a text form of {@link ScheduleSpec} but {@code custom:FILE}.
 * Its sigmas are for the model's own picture size; see {@link ScheduleSpec#resized} for others.
 * Files are named relative to the folder and lie in it. Immutable.
 *
 * @param name {@code default} is in force where the caller names none
 * @param schedule of requests that leave theirs open
 * @param cfg of requests that leave both open, at least 1; null for 1
 * @param slowLora the SLOW phase's adapter file, or null for none
 * @param fastLora the FAST phase's adapter file, or null for none
 * @param loraScale multiplies the scale of these two adapters, as {@link GlanceOptions#loraScale()}
 *     does too; default 1
 */
public record Preset(
    String name,
    ScheduleSpec schedule,
    @Nullable Double cfg,
    @Nullable Path slowLora,
    @Nullable Path fastLora,
    double loraScale) {
  /** The name of no preset: a caller who asks for it gets the model without. */
  public static final String NONE = "none";

  /** The file's name in the model folder. */
  public static final String FILE_NAME = "glance.json";

  private static final String DEFAULT = "default";
  private static final String PRESETS = "presets";
  private static final List<String> KEYS =
      List.of("schedule", "cfg", "slow_lora", "fast_lora", "lora_scale");

  /**
   * Reads all presets of a model folder.
   *
   * @return by name, sorted; empty if the folder has no such file
   * @throws ModelFormatException naming file, key, value and fix
   */
  public static Map<String, Preset> readAll(Path folder) {
    Path file = folder.resolve(FILE_NAME);
    Map<String, Preset> presets = new TreeMap<>();
    if (!Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
      return presets;
    }
    ConfigFile root = ConfigFile.read(file);
    root.requireOnly(List.of(PRESETS));
    ConfigFile all = root.object(PRESETS);
    for (String name : all.keys()) {
      if (name.equals(NONE)) {
        throw all.error(NONE, "is what callers say who want no preset; choose another name");
      }
      presets.put(name, read(folder, name, all.object(name)));
    }
    return presets;
  }

  /**
   * The preset in force for a model loaded with {@code options}: the one they name, otherwise the
   * model's {@code default} unless they name an adapter.
   *
   * @return null for none
   * @throws IllegalArgumentException if the model has no preset of that name; the message names
   *     those it has
   * @throws ModelFormatException if the presets cannot be read
   */
  public static @Nullable Preset choose(Path folder, GlanceOptions options) {
    String name = options.preset();
    if (name == null ? options.hasAdapters() : name.equals(NONE)) {
      return null;
    }
    Map<String, Preset> presets = readAll(folder);
    Preset chosen = presets.get(name == null ? DEFAULT : name);
    if (chosen == null && name != null) {
      throw new IllegalArgumentException(
          "%s has no preset \"%s\"; use %s"
              .formatted(
                  folder,
                  name,
                  presets.isEmpty() ? NONE : String.join(", ", presets.keySet()) + " or " + NONE));
    }
    return chosen;
  }

  /** True if it brings an adapter. */
  public boolean hasAdapters() {
    return slowLora != null || fastLora != null;
  }

  private static Preset read(Path folder, String name, ConfigFile json) {
    json.requireOnly(KEYS);
    Double cfg = json.has("cfg") ? Double.valueOf(json.number("cfg")) : null;
    if (cfg != null && cfg < 1) {
      throw json.error("cfg", cfg + " must be at least 1, which is off");
    }
    Preset preset =
        new Preset(
            name,
            schedule(json),
            cfg,
            adapter(folder, json, "slow_lora"),
            adapter(folder, json, "fast_lora"),
            json.numberOr("lora_scale", 1));
    if (json.has("lora_scale") && !preset.hasAdapters()) {
      throw json.error("lora_scale", "has no effect without slow_lora or fast_lora; remove it");
    }
    return preset;
  }

  private static ScheduleSpec schedule(ConfigFile json) {
    try {
      return ScheduleSpec.parseInline(json.string("schedule"));
    } catch (IllegalArgumentException e) {
      throw json.error("schedule", String.valueOf(e.getMessage()));
    }
  }

  private static @Nullable Path adapter(Path folder, ConfigFile json, String key) {
    if (!json.has(key)) {
      return null;
    }
    String text = json.string(key);
    try {
      // By name only: caches of downloads keep a folder's files elsewhere and link to them.
      Path relative = Path.of(text).normalize();
      if (relative.isAbsolute() || relative.startsWith("..")) {
        throw json.error(key, "\"" + text + "\" is outside the model's folder; copy it in there");
      }
      Path file = folder.resolve(relative);
      if (!Files.isRegularFile(file)) {
        throw json.error(key, file + " is not there; copy the model whole or remove the key");
      }
      return file;
    } catch (InvalidPathException e) {
      throw json.error(key, "\"" + text + "\" is not a file name");
    }
  }
}
