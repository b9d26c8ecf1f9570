package org.glance4j.cli;

import java.nio.file.Path;
import org.glance4j.DType;
import org.glance4j.Glance;
import org.glance4j.GlanceOptions;
import org.glance4j.kernel.Backend;
import org.glance4j.schedule.ScheduleSpec;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Which model, loaded how. */
final class ModelOptions {
  @Option(
      names = "--model",
      paramLabel = "DIR",
      description = "Model folder in the layout of Hugging Face diffusers. Default: bundled model.")
  @Nullable Path model;

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

  @Option(
      names = "--backend",
      paramLabel = "auto|cpu|cuda|torch",
      description = "Who runs the kernels. Default: auto.")
  Backend backend = Backend.AUTO;

  @Option(
      names = "--dtype",
      paramLabel = "f32|bf16",
      description = "Type of weights and activations. Default: f32.")
  DType dtype = DType.F32;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "CPU threads. Default: one for each core.")
  int threads;

  /** Fails if an option would have no effect with this schedule. */
  void requireUseOf(@Nullable ScheduleSpec schedule) {
    boolean adapters = slowLora != null || fastLora != null;
    if (adapters && schedule != null && schedule.toString().startsWith("base")) {
      throw new IllegalArgumentException(
          "the base schedule uses no adapter; leave out --slow-lora and --fast-lora, or choose"
              + " another --schedule than "
              + schedule);
    }
    if (!adapters && loraScale != 1) {
      throw new IllegalArgumentException(
          "--lora-scale " + loraScale + " has no effect without --slow-lora and --fast-lora");
    }
  }

  Glance load() {
    GlanceOptions options =
        GlanceOptions.builder()
            .dtype(dtype)
            .backend(backend)
            .threads(threads)
            .slowLora(slowLora)
            .fastLora(fastLora)
            .loraScale(loraScale)
            .build();
    return model == null ? Glance.loadBundled(options) : Glance.load(model, options);
  }
}
