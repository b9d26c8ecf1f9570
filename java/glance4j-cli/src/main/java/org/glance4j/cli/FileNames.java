package org.glance4j.cli;

import java.nio.file.Path;

/** Names derived from one the user gave. */
final class FileNames {
  private FileNames() {}

  /** {@code apple.png} with suffix {@code -2} is {@code apple-2.png}. */
  static Path withSuffix(Path file, String suffix) {
    String name = String.valueOf(file.getFileName());
    int dot = name.lastIndexOf('.');
    int at = dot > 0 ? dot : name.length();
    return file.resolveSibling(name.substring(0, at) + suffix + name.substring(at));
  }
}
