package org.glance4j.weights;

import java.nio.file.Path;
import java.util.List;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** How {@link BadFilesTest} opens what it is to see refused. */
final class ModelLoader {
  /**
   * False as long as the two methods below read weights but build no model from them: a bad file
   * that only a model can refuse is then skipped.
   */
  static final boolean BUILDS_MODELS = false;

  private ModelLoader() {}

  /** Opens a whole model folder and closes it again. */
  static void openModel(Path folder) {
    ModelIndex index = ModelIndex.read(folder);
    for (String component : List.of("text_encoder", "text_encoder_2", "transformer", "vae")) {
      if (index.components().containsKey(component)) {
        openComponent(index.componentFolder(component));
      }
    }
  }

  /** Opens one component's folder, of the class its configuration names, and closes it again. */
  static void openComponent(Path folder) {
    try (Weights weights = Weights.open(folder, ScalarType.Float)) {
      ModelInventory.of(folder)
          .components()
          .forEach(c -> c.tensors().forEach(t -> weights.take(t.name(), t.sizes())));
      weights.requireAllTaken();
    }
  }
}
