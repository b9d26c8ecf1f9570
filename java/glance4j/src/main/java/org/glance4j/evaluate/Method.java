package org.glance4j.evaluate;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.glance4j.Preset;
import org.glance4j.schedule.ScheduleSpec;
import org.jspecify.annotations.Nullable;

/**
 * A way of sampling. Immutable.
 *
 * @param name as tables and plots show it
 * @param group methods of one group are joined by a line in the plot
 * @param schedule the steps to walk
 * @param cfg classifier-free guidance, at least 1; above 1 each step costs two evaluations; null
 *     for the schedule's own, or none where it has none
 * @param slow the SLOW phase's adapter file, or null for none
 * @param fast the FAST phase's adapter file, or null for none
 * @param scale multiplies each adapter's own scale, see {@link
 *     org.glance4j.GlanceOptions#loraScale()}
 */
public record Method(
    String name,
    String group,
    ScheduleSpec schedule,
    @Nullable Double cfg,
    @Nullable Path slow,
    @Nullable Path fast,
    double scale) {
  /** Checks ranges, and that nothing given is without effect. */
  public Method {
    if (name.isBlank()) {
      throw new IllegalArgumentException("a method has no name; put one before the colon");
    }
    if (cfg != null && (!Double.isFinite(cfg) || cfg < 1)) {
      throw new IllegalArgumentException("cfg " + cfg + " must be a finite number of at least 1");
    }
    if (!Double.isFinite(scale)) {
      throw new IllegalArgumentException("scale " + scale + " must be a finite number");
    }
    boolean adapters = slow != null || fast != null;
    if (adapters && schedule.toString().startsWith("base")) {
      throw new IllegalArgumentException(
          "schedule "
              + schedule
              + " uses no adapter; leave out slow and fast, or choose another schedule");
    }
    if (!adapters && scale != 1) {
      throw new IllegalArgumentException(
          "scale " + scale + " has no effect without slow and fast; give them");
    }
  }

  /** A method without adapters; its group is the part of the name before the first {@code /}. */
  public static Method of(String name, ScheduleSpec schedule, double cfg) {
    return new Method(name, groupOf(name), schedule, cfg, null, null, 1);
  }

  /** As {@link #of(String, ScheduleSpec, double)} with the schedule's own guidance, or none. */
  public static Method of(String name, ScheduleSpec schedule) {
    return new Method(name, groupOf(name), schedule, null, null, null, 1);
  }

  /** How a model's preset samples: {@code preset/NAME}. */
  public static Method of(Preset preset) {
    return of("preset/" + preset.name(), "preset", preset);
  }

  static Method of(String name, String group, Preset preset) {
    return new Method(
        name,
        group,
        preset.schedule(),
        preset.cfg(),
        preset.slowLora(),
        preset.fastLora(),
        preset.loraScale());
  }

  /**
   * Reads {@code NAME: schedule=glance cfg=3.5 slow=FILE fast=FILE scale=0.5 group=NAME} or {@code
   * NAME: preset=default}. Only the name and the schedule or preset must be there, the keys may
   * stand in any order. Defaults: the schedule's own cfg or 1, no adapters, scale 1, and as group
   * the part of the name before the first {@code /}. A value with spaces stands in double quotes.
   *
   * @param presets of the model, by name
   * @throws IllegalArgumentException naming the word that is wrong, and the fix
   */
  public static Method parse(String text, Map<String, Preset> presets) {
    return MethodText.parse(text, presets);
  }

  /**
   * Reads a UTF-8 file of methods, one a line in the form of {@link #parse}; lines that are empty
   * or begin with {@code #} are skipped. File names in it are as seen from the current folder.
   *
   * @param presets of the model, by name
   * @throws org.glance4j.ModelFormatException naming file, line, word and fix
   */
  public static List<Method> read(Path file, Map<String, Preset> presets) {
    return MethodText.read(file, presets);
  }

  static String groupOf(String name) {
    int slash = name.indexOf('/');
    return slash > 0 ? name.substring(0, slash) : name;
  }
}
