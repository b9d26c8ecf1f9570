package org.glance4j.kernel;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.Context;
import org.bytedeco.pytorch.global.torch;

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
          "/usr/local/cuda-13.3/lib64",
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

  /** True if the LibTorch that is loaded was built for CUDA, whether or not it finds a device. */
  public static boolean inLibTorch() {
    return Context.hasCUDART();
  }

  /**
   * What a message about missing CUDA says: driver, devices, this library and LibTorch, the
   * libraries below them, where they were searched, and what to do.
   */
  static String report() {
    NativeLibrary.Cuda cuda = NativeLibrary.cuda();
    List<String> lines = new ArrayList<>();
    lines.add(
        "driver: "
            + (cuda.problem() == null ? cuda.devices().size() + " device(s)" : cuda.problem()));
    String architectures = NativeLibrary.cudaArchitectures();
    lines.add(
        "kernels: "
            + NativeLibrary.path()
            + (architectures.isEmpty()
                ? ", built without CUDA (no nvcc was found, or GLANCE_CUDA=1 was not set)"
                : ", for " + architectures));
    lines.add(
        "LibTorch: "
            + Loader.load(torch.class)
            + (inLibTorch() ? ", built for CUDA" : ", built for the CPU only"));
    for (Library library : find()) {
      lines.add(library.name() + ": " + library.path().map(Path::toString).orElse("not found"));
    }
    lines.add("searched: " + folders());
    lines.add("to fix it: " + fix(architectures.isEmpty()) + ", or choose backend cpu");
    String separator = System.lineSeparator() + "  ";
    return separator + String.join(separator, lines);
  }

  private static String fix(boolean kernelsLackCuda) {
    List<String> steps = new ArrayList<>();
    if (!inLibTorch()) {
      steps.add(
          "add the dependency org.glance4j:glance4j-cuda (type pom) and take LibTorch's CPU natives"
              + " off the class path (building this project: mvn -Pcuda)");
    }
    if (kernelsLackCuda) {
      steps.add("build the kernels where a CUDA toolkit of 12.5 or newer is (nvcc on PATH)");
    }
    steps.add("install the driver and whatever is not found above");
    return String.join("; ", steps);
  }
}
