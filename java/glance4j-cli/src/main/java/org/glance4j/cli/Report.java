package org.glance4j.cli;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.glance4j.Generation;
import org.glance4j.GenerationStats;
import org.glance4j.GlanceOptions;
import org.glance4j.HostMemory;
import org.glance4j.schedule.Step;
import org.jspecify.annotations.Nullable;

/** The line {@code --json} prints. */
final class Report {
  private Report() {}

  static String json(
      Generation generation, GlanceOptions options, List<Path> files, double loadSeconds) {
    GenerationStats stats = generation.stats();
    ObjectNode root = new JsonMapper().createObjectNode();
    files.forEach(file -> root.withArray("files").add(file.toString()));
    root.putObject("seconds")
        .put("load", loadSeconds)
        .put("text", stats.textSeconds())
        .put("denoise", stats.denoiseSeconds())
        .put("decode", stats.decodeSeconds())
        .put("generate", stats.totalSeconds());
    root.put("images", generation.images().size());
    root.put("seed", generation.image().recipe().request().seed());
    root.put("width", generation.image().width());
    root.put("height", generation.image().height());
    root.put("preset", options.preset());
    root.put("slow_lora", text(options.slowLora()));
    root.put("fast_lora", text(options.fastLora()));
    root.put("lora_scale", options.loraScale());
    root.put("cfg", generation.image().recipe().request().cfg());
    root.put("schedule", String.valueOf(generation.image().recipe().request().schedule()));
    root.put("steps", stats.steps().size());
    ObjectNode phases = root.putObject("phases");
    stepsByPhase(stats.steps()).forEach(phases::put);
    root.put("evaluations", stats.evaluations());
    HostMemory.peakResidentBytes().ifPresent(bytes -> root.put("peak_memory_bytes", bytes));
    return root.toString();
  }

  private static @Nullable String text(@Nullable Path path) {
    return path == null ? null : path.toString();
  }

  private static Map<String, Integer> stepsByPhase(List<Step> steps) {
    Map<String, Integer> counts = new LinkedHashMap<>();
    steps.forEach(step -> counts.merge(step.phase().name(), 1, Integer::sum));
    return counts;
  }
}
