package org.glance4j;

import java.util.List;
import org.glance4j.schedule.Step;

/**
 * What a generation did and how long it took.
 *
 * @param textSeconds tokenizing and encoding the prompts; near 0 where they were cached
 * @param denoiseSeconds all steps of all images
 * @param decodeSeconds all VAE decodes
 * @param totalSeconds from call to return
 * @param evaluations transformer evaluations: of each step of each image one, or two with CFG above
 *     1 (steps recorded as a CUDA graph run both all the same)
 * @param steps the schedule each image walked
 */
public record GenerationStats(
    double textSeconds,
    double denoiseSeconds,
    double decodeSeconds,
    double totalSeconds,
    int evaluations,
    List<Step> steps) {
  /** Copies the list. */
  public GenerationStats {
    steps = List.copyOf(steps);
  }
}
