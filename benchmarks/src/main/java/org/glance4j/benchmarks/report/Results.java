package org.glance4j.benchmarks.report;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * All that a run measured.
 *
 * @param date when, ISO 8601
 * @param command what was run
 */
public record Results(
    String date,
    String command,
    Machine machine,
    Ceilings ceilings,
    List<Measured> kernels,
    List<GenerateComparison.Result> generate) {

  /** The kernels' cases by operation, in the order they were measured. */
  public Map<String, List<Measured>> byOperation() {
    Map<String, List<Measured>> operations = new LinkedHashMap<>();
    for (Measured one : kernels) {
      operations.computeIfAbsent(one.name().operation(), key -> new ArrayList<>()).add(one);
    }
    return operations;
  }
}
