package org.glance4j.train;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import org.glance4j.schedule.Phase;

/**
 * What a training made.
 *
 * @param slow the SLOW phase's adapter file
 * @param fast the FAST phase's; the same file if one adapter serves both
 * @param lossCurve a PNG of the loss over the steps
 * @param losses of each expert's steps
 * @param seconds the whole took, after a resume only what was left
 * @param peakMemoryBytes the most memory this process has had resident, mapped weights included;
 *     empty where the system does not say
 */
public record TrainingResult(
    Path slow,
    Path fast,
    Path lossCurve,
    Map<Phase, List<Double>> losses,
    double seconds,
    OptionalLong peakMemoryBytes) {
  /** Copies the map. */
  public TrainingResult {
    losses = Map.copyOf(losses);
  }
}
