package org.glance4j.train;

import java.nio.file.Path;
import org.glance4j.DType;
import org.glance4j.ImageModels;
import org.glance4j.model.ImageSize;

/** How much memory a training takes. */
final class TrainingMemory {
  /** The JVM, LibTorch and their caches: measured on a model that needs next to nothing. */
  private static final long PROCESS_BYTES = 450_000_000;

  private TrainingMemory() {}

  /** About how many bytes, the process as a whole, at the model's own picture size. */
  static long bytes(
      Path model, TrainingRecipe recipe, DType dtype, boolean checkpointing, boolean keepResident) {
    ImageSize size = ImageModels.defaultSize(model);
    int batch = recipe.studentCfg() > 1 ? 2 : 1;
    return PROCESS_BYTES
        + ImageModels.trainingBytes(
            model, dtype, size, recipe.rank(), batch, checkpointing, keepResident);
  }
}
