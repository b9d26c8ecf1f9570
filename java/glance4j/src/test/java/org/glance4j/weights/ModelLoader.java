package org.glance4j.weights;

import java.nio.file.Path;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.Glance;
import org.glance4j.model.text.ClipTextEncoder;

/** How {@link BadFilesTest} opens what it is to see refused. */
final class ModelLoader {
  private ModelLoader() {}

  /** Loads a whole model folder and closes it again. */
  static void openModel(Path folder) {
    Glance.load(folder).close();
  }

  /** Loads one component's folder; the reference's are all CLIP text encoders. */
  static void openComponent(Path folder) {
    ClipTextEncoder.open(folder, ScalarType.Float).close();
  }
}
