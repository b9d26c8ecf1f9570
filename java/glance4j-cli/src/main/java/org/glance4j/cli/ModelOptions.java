package org.glance4j.cli;

import java.nio.file.Path;
import org.glance4j.Glance;
import org.glance4j.GlanceOptions;
import org.glance4j.Preset;
import org.glance4j.schedule.ScheduleSpec;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Which model, loaded how, with which adapters. */
final class ModelOptions extends RunOptions {
  @Option(
      names = "--preset",
      paramLabel = "NAME",
      description = {
        "Schedule, cfg and adapters by the model's glance.json, which inspect shows; none: without.",
        "Default: the preset called default, if there is one and no adapter is given."
      })
  @Nullable String preset;

  @Option(
      names = "--slow-lora",
      paramLabel = "FILE",
      description = "Adapter of the SLOW phase (safetensors).")
  @Nullable Path slowLora;

  @Option(
      names = "--fast-lora",
      paramLabel = "FILE",
      description = "Adapter of the FAST phase (safetensors).")
  @Nullable Path fastLora;

  @Option(
      names = "--lora-scale",
      paramLabel = "X",
      description = {
        "Multiplies each adapter's own scale (alpha / rank, or 1 where the file has no alpha).",
        "Files from the Glance authors carry no alpha but are trained at 4. Default: 1."
      })
  double loraScale = 1;

  /** Fails if an option would have no effect with this schedule; null is one left open. */
  void requireUseOf(@Nullable ScheduleSpec schedule) {
    GlanceOptions options = options();
    boolean base = schedule != null && schedule.toString().startsWith("base");
    if (options.hasAdapters() && base) {
      throw new IllegalArgumentException(
          "the base schedule uses no adapter; leave out --slow-lora and --fast-lora, or choose"
              + " another --schedule than "
              + schedule);
    }
    Preset chosen = Preset.choose(folder(), options);
    boolean presetAdapters = !options.hasAdapters() && chosen != null && chosen.hasAdapters();
    if (preset != null && chosen != null && schedule != null && (base || !presetAdapters)) {
      throw new IllegalArgumentException(
          "--preset %s has no effect with schedule %s; leave one of them out"
              .formatted(preset, schedule));
    }
    if (loraScale != 1 && (base || !(options.hasAdapters() || presetAdapters))) {
      throw new IllegalArgumentException(
          "--lora-scale "
              + loraScale
              + " has no effect where no adapter is used; give --slow-lora and --fast-lora");
    }
  }

  Glance load() {
    GlanceOptions options = options();
    return model == null ? Glance.loadBundled(options) : Glance.load(model, options);
  }

  private GlanceOptions options() {
    return GlanceOptions.builder()
        .dtype(dtype)
        .backend(backend)
        .threads(threads)
        .slowLora(slowLora)
        .fastLora(fastLora)
        .loraScale(loraScale)
        .preset(preset)
        .keepResident(keepResident)
        .build();
  }
}
