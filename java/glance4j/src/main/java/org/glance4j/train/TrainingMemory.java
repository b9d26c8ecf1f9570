package org.glance4j.train;

import java.nio.file.Path;
import org.glance4j.DType;

/** How much memory a training takes. */
final class TrainingMemory {
  /** The JVM, LibTorch and their caches. */
  private static final long PROCESS_BYTES = 450_000_000;

  private TrainingMemory() {}

  static long bytes(Path model, TrainingRecipe recipe, DType dtype, boolean checkpointing) {
    return PROCESS_BYTES + 0;
  }
}
