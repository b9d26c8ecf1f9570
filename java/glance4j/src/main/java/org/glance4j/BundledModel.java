package org.glance4j;

import java.io.IOException;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import org.bytedeco.javacpp.Loader;

/** Finds the model that the artifact glance4j-tiny carries as resources. */
final class BundledModel {
  private static final String RESOURCE = "/org/glance4j/glance-tiny";
  private static final String MARKER = "model_index.json";

  private BundledModel() {}

  /**
   * The model's folder on disk. From a jar it is unpacked once into JavaCPP's cache, since weights
   * are memory-mapped; later starts find it there.
   */
  static Path folder() {
    URL resource = BundledModel.class.getResource(RESOURCE);
    if (resource == null) {
      throw new ModelFormatException(
          "the bundled model is not on the class path; add the dependency"
              + " org.glance4j:glance4j-tiny, or load a model folder with Glance.load(Path)");
    }
    try {
      Path folder = Loader.cacheResource(resource).toPath();
      if (!Files.isRegularFile(folder.resolve(MARKER))) {
        throw ModelFormatException.in(
            folder, MARKER, "is missing after unpacking; delete the folder and try again");
      }
      return folder;
    } catch (IOException e) {
      throw new ModelFormatException(
          "the bundled model could not be unpacked: "
              + e.getMessage()
              + "; set -Dorg.bytedeco.javacpp.cachedir to a folder with 20 MB free",
          e);
    }
  }
}
