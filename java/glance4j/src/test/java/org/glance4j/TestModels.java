package org.glance4j;

import java.nio.file.Path;
import org.glance4j.reference.Reference;

/** The model folders tests run on. */
final class TestModels {
  /** The bundled model, where its module keeps it. */
  static final Path TINY =
      Path.of("../glance4j-tiny/src/main/resources/org/glance4j/glance-tiny").toAbsolutePath();

  private TestModels() {}

  /** The random-weight FLUX model of the reference folder. */
  static Path fluxReference() {
    return Reference.path("flux-tiny-random");
  }
}
