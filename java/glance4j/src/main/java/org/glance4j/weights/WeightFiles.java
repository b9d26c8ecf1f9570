package org.glance4j.weights;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.glance4j.ModelFormatException;

/** Finds a component's weight files. */
final class WeightFiles {
  private WeightFiles() {}

  static List<SafetensorsFile> open(Path folder) {
    try (Stream<Path> entries = Files.list(folder)) {
      List<Path> files =
          entries.filter(p -> p.toString().endsWith(".safetensors")).sorted().toList();
      return files.stream().map(SafetensorsFile::open).toList();
    } catch (IOException e) {
      throw new ModelFormatException(folder + ": cannot be read: " + e.getMessage(), e);
    }
  }
}
