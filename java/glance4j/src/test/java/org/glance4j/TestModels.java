package org.glance4j;

import java.nio.file.Path;

/** The model folders tests run on. */
final class TestModels {
  /** The bundled model, where its module keeps it. */
  static final Path TINY =
      Path.of("../glance4j-tiny/src/main/resources/org/glance4j/glance-tiny").toAbsolutePath();

  private TestModels() {}
}
