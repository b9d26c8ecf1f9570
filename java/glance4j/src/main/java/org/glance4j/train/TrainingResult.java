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
 * @param keptSteps how many steps each adapter had taken as it was written: all of them, or fewer
 *     if there were captions to validate on; 0 is an adapter that changes nothing
 * @param seconds the whole took, after a resume only what was left
 * @param peakMemoryBytes the most memory this process has had resident, mapped weights included;
 *     empty where the system does not say
 */
public record TrainingResult(
    Path slow,
    Path fast,
    Path lossCurve,
    Map<Phase, List<Double>> losses,
    Map<Phase, Integer> keptSteps,
    double seconds,
    OptionalLong peakMemoryBytes) {
  /** Copies the maps. */
  public TrainingResult {
    losses = Map.copyOf(losses);
    keptSteps = Map.copyOf(keptSteps);
  }
}
