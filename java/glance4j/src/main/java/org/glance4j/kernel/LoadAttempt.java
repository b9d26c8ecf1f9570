package org.glance4j.kernel;

import java.io.IOException;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.bytedeco.javacpp.Loader;
import org.glance4j.NativeLoadException;
import org.jspecify.annotations.Nullable;

/**
 * One try at loading a native library, and if it failed, all that helps to mend it.
 *
 * @param failure null if the library is loaded
 */
record LoadAttempt(@Nullable NativeLoadException failure) {
  /** What JavaCPP appends to the platform's folder: nothing, or the mark of a build for CUDA. */
  private static final List<String> EXTENSIONS = List.of("", "-gpu");

  /**
   * Tries to load a library in the way JavaCPP does: from the class path, unpacked into a cache
   * folder, then from {@code java.library.path}.
   *
   * @param what its name in the message
   * @param resourceFolder the folder on the class path that holds a folder for each platform
   * @param file the library's file name on Linux
   * @param dependency the Maven dependency that brings it
   * @param load calls any function of it
   */
  static LoadAttempt of(
      String what, String resourceFolder, String file, String dependency, Runnable load) {
    try {
      load.run();
      return new LoadAttempt(null);
    } catch (LinkageError | RuntimeException e) {
      return new LoadAttempt(report(what, resourceFolder, file, dependency, e));
    }
  }

  /** Throws {@link #failure()} anew, for the stack of this caller. */
  void throwIfFailed() {
    if (failure != null) {
      String report = Objects.requireNonNull(failure.getMessage());
      NativeLoadException again = new NativeLoadException(report, failure.getCause());
      for (Throwable attempt : failure.getSuppressed()) {
        again.addSuppressed(attempt);
      }
      throw again;
    }
  }

  private static NativeLoadException report(
      String what, String resourceFolder, String file, String dependency, Throwable cause) {
    String platform = Loader.getPlatform();
    List<String> lines = new ArrayList<>();
    lines.add("cannot load " + what + " for " + platform + ": " + firstLine(cause));
    URL found = null;
    for (String extension : EXTENSIONS) {
      String resource = resourceFolder + "/" + platform + extension + "/" + file;
      URL here = LoadAttempt.class.getClassLoader().getResource(resource);
      lines.add("  looked for " + resource + " on the class path: " + (here == null ? "no" : here));
      found = here == null ? found : here;
    }
    if (found != null) {
      lines.add("  unpacks to the cache folder " + cacheFolder());
    }
    for (Path folder : SearchPath.folders(System.getProperty("java.library.path"))) {
      boolean exists = Files.exists(folder.resolve(file));
      lines.add("  looked for " + file + " in " + folder + ": " + (exists ? "found" : "no"));
    }
    lines.add("  to fix it: " + fix(found != null, dependency, platform));
    NativeLoadException failure =
        new NativeLoadException(String.join(System.lineSeparator(), lines), cause);
    // JavaCPP chains the failure of each file it tried.
    for (Throwable earlier = cause.getCause(); earlier != null; earlier = earlier.getCause()) {
      failure.addSuppressed(earlier);
    }
    return failure;
  }

  private static String fix(boolean found, String dependency, String platform) {
    if (found) {
      return "the library is there but the system refuses it. If the reason above names a missing"
          + " library, install that one; if it says that a segment cannot be mapped or a file"
          + " cannot be written, name a writable folder that allows execution with"
          + " -Dorg.bytedeco.javacpp.cachedir=FOLDER";
    }
    return "add the dependency " + dependency + " built for " + platform;
  }

  private static String cacheFolder() {
    try {
      return Loader.getCacheDir().toString();
    } catch (IOException e) {
      return "(none is writable: " + e.getMessage() + ")";
    }
  }

  private static String firstLine(Throwable cause) {
    String message = cause.getMessage();
    return message == null ? cause.toString() : message.lines().findFirst().orElse("");
  }
}
