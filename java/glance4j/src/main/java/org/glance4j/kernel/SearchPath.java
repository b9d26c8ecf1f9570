package org.glance4j.kernel;

import java.io.File;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Reads lists of folders such as {@code java.library.path}. */
final class SearchPath {
  private static final Pattern SEPARATOR = Pattern.compile(Pattern.quote(File.pathSeparator));

  private SearchPath() {}

  /** The folders of {@code path}, in order; none if it is null. */
  static List<Path> folders(@Nullable String path) {
    if (path == null) {
      return List.of();
    }
    return SEPARATOR.splitAsStream(path).filter(f -> !f.isEmpty()).map(Path::of).toList();
  }
}
