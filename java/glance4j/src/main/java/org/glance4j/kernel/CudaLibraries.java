package org.glance4j.kernel;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The CUDA libraries that LibTorch's GPU build expects from the system, and where they are. */
public final class CudaLibraries {
  // What no jar brings: CUDA 13's mathematics libraries, cuDNN 9 and NCCL 2.
  private static final List<String> NAMES =
      List.of(
          "libcublas.so.13",
          "libcublasLt.so.13",
          "libcusparse.so.12",
          "libcusolver.so.12",
          "libcudnn.so.9",
          "libnccl.so.2");
  private static final List<String> SYSTEM_FOLDERS =
      List.of(
          "/usr/local/cuda/lib64",
          "/usr/lib/x86_64-linux-gnu",
          "/usr/lib/aarch64-linux-gnu",
          "/usr/lib64");

  private CudaLibraries() {}

  /**
   * One library.
   *
   * @param name its file name
   * @param path where it was found, if it was
   */
  public record Library(String name, Optional<Path> path) {}

  /** The libraries, each with the first place it was found in. */
  public static List<Library> find() {
    return NAMES.stream().map(name -> new Library(name, locate(name))).toList();
  }

  /** The folders that are searched: {@code LD_LIBRARY_PATH}, then the system's usual ones. */
  public static List<Path> folders() {
    List<Path> folders = new ArrayList<>(SearchPath.folders(System.getenv("LD_LIBRARY_PATH")));
    SYSTEM_FOLDERS.forEach(folder -> folders.add(Path.of(folder)));
    return folders;
  }

  private static Optional<Path> locate(String name) {
    return folders().stream().map(folder -> folder.resolve(name)).filter(Files::exists).findFirst();
  }

  /** What a message about missing CUDA says: driver, devices, libraries, and what to do. */
  static String report() {
    StringBuilder text = new StringBuilder();
    NativeLibrary.Cuda cuda = NativeLibrary.cuda();
    String line = System.lineSeparator() + "  ";
    text.append(line).append("driver: ");
    text.append(cuda.problem() == null ? cuda.devices().size() + " device(s)" : cuda.problem());
    for (Library library : find()) {
      text.append(line).append(library.name()).append(": ");
      text.append(library.path().map(Path::toString).orElse("not found"));
    }
    text.append(line).append("searched: ").append(folders());
    text.append(line)
        .append("to fix it: put org.bytedeco:pytorch with the GPU classifier on the class path in")
        .append(" place of the CPU one, install the driver and whatever is not found above, or")
        .append(" choose backend cpu");
    return text.toString();
  }
}
