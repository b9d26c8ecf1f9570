package org.glance4j.cli;

import java.nio.file.Path;
import org.glance4j.ImageRequest;
import org.glance4j.Latents;
import org.glance4j.schedule.ScheduleSpec;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** What to draw. */
final class RequestOptions {
  /** What Java puts for bytes that are not of its character set. */
  private static final char REPLACEMENT = '\ufffd';

  @Parameters(paramLabel = "PROMPT", description = "What to draw; may be empty.")
  String prompt = "";

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Seed of the initial noise; image I uses N + I. Default: 0.")
  long seed;

  @Option(names = "--width", paramLabel = "W", description = "In pixels. Default: the model's.")
  @Nullable Integer width;

  @Option(names = "--height", paramLabel = "H", description = "In pixels. Default: the model's.")
  @Nullable Integer height;

  @Option(
      names = "--steps",
      paramLabel = "N",
      description = "Steps of the base schedule. Default: 50.")
  @Nullable Integer steps;

  @Option(
      names = "--schedule",
      paramLabel = "NAME",
      description = {
        "base | glance | glance-3-5 | glance-5-10 | official | custom:FILE.",
        "Default: the preset's; without one glance where both adapters are given, otherwise base."
      })
  @Nullable String schedule;

  @Option(
      names = "--cfg",
      paramLabel = "X",
      description = {
        "Classifier-free guidance; above 1 each step costs two evaluations.",
        "Default: the preset's unless --schedule or --steps is given, otherwise 1 (off)."
      })
  @Nullable Double cfg;

  @Option(
      names = "--negative",
      paramLabel = "TEXT",
      description = "What to steer away from; needs --cfg above 1.")
  @Nullable String negative;

  @Option(
      names = "--guidance",
      paramLabel = "X",
      description = "Distilled guidance, for models that take it (FLUX.1-dev). Default: 3.5.")
  double guidance = 3.5;

  @Option(
      names = "--max-text-tokens",
      paramLabel = "N",
      description = "Text tokens of a prompt; what is longer is cut off. Default: the model's.")
  @Nullable Integer maxTextTokens;

  @Option(names = "--count", paramLabel = "N", description = "How many images. Default: 1.")
  int count = 1;

  @Option(
      names = "--latents-in",
      paramLabel = "FILE",
      description = "Start from these packed latents (safetensors) in place of noise.")
  @Nullable Path latentsIn;

  ImageRequest request() {
    if (prompt.indexOf(REPLACEMENT) >= 0) {
      throw new IllegalArgumentException(
          "the prompt has characters that this locale cannot express; set LC_ALL=C.UTF-8");
    }

    return ImageRequest.builder(prompt)
        .negativePrompt(negative)
        .cfg(cfg)
        .guidance(guidance)
        .width(width)
        .height(height)
        .seed(seed)
        .imageCount(count)
        .schedule(scheduleSpec())
        .maxTextTokens(maxTextTokens)
        .initialLatents(latentsIn == null ? null : Latents.read(latentsIn))
        .build();
  }

  private @Nullable ScheduleSpec scheduleSpec() {
    if (steps == null) {
      return schedule == null ? null : ScheduleSpec.parse(schedule);
    }
    if (schedule != null && !schedule.equals("base")) {
      throw new IllegalArgumentException(
          "--steps " + steps + " fits only the base schedule, not --schedule " + schedule);
    }
    return ScheduleSpec.base(steps);
  }
}
