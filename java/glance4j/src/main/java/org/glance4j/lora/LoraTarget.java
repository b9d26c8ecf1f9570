package org.glance4j.lora;

import java.util.List;

/**
 * What one name of an adapter file stands for in the model.
 *
 * @param linears the model's linears, whose outputs the named one holds in this order
 * @param swapHalves true if the file has the two halves of the output the other way round
 */
record LoraTarget(List<String> linears, boolean swapHalves) {
  LoraTarget {
    linears = List.copyOf(linears);
  }

  static LoraTarget of(String linear) {
    return new LoraTarget(List.of(linear), false);
  }
}
