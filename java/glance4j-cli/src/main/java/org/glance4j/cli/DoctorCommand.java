package org.glance4j.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.Glance;
import org.glance4j.HostMemory;
import org.glance4j.ModelFormatException;
import org.glance4j.NativeLoadException;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.CudaLibraries;
import org.glance4j.kernel.NativeLibrary;
import org.glance4j.kernel.NativeRuntime;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** {@code glance doctor}: what the machine has, and what to do about what is missing. */
@Command(
    name = "doctor",
    description = "Prints platform, CPU features, native libraries, CUDA, and what is missing.",
    mixinStandardHelpOptions = true)
final class DoctorCommand implements Callable<Integer> {
  @Spec CommandSpec spec = CommandSpec.create();

  private boolean healthy = true;

  /** Exit code 1 if something that every generation needs is missing. */
  @Override
  public Integer call() {
    PrintWriter out = spec.commandLine().getOut();
    line(out, "glance4j", new Version().getVersion()[0]);
    line(out, "platform", Loader.getPlatform() + ", " + System.getProperty("os.version"));
    line(out, "java", System.getProperty("java.version") + ", " + System.getProperty("java.home"));
    line(out, "CPUs", String.valueOf(Runtime.getRuntime().availableProcessors()));
    HostMemory.availableBytes()
        .ifPresent(
            bytes -> line(out, "free memory", String.format(Locale.ROOT, "%.1f GB", bytes / 1e9)));
    torchLines(out);
    kernelLines(out);
    cudaLines(out);
    modelLine(out);
    out.flush();
    return healthy ? 0 : 1;
  }

  private void torchLines(PrintWriter out) {
    try {
      NativeRuntime.initialize();
      line(out, "LibTorch", Loader.load(torch.class) + ", " + torch.get_num_threads() + " threads");
    } catch (NativeLoadException e) {
      problem(out, "LibTorch", e);
    }
  }

  private void kernelLines(PrintWriter out) {
    NativeLoadException failure = NativeLibrary.failure();
    if (failure != null) {
      problem(out, "kernels", failure);
      return;
    }
    line(out, "kernels", NativeLibrary.path());
    line(out, "CPU features", NativeLibrary.cpuFeatures() + " (the last is in use)");
  }

  private void cudaLines(PrintWriter out) {
    if (NativeLibrary.failure() != null) {
      return;
    }
    String architectures = NativeLibrary.cudaArchitectures();
    line(
        out,
        "CUDA kernels",
        architectures.isEmpty()
            ? "none: this build found no CUDA toolkit (nvcc)"
            : "for " + architectures);
    NativeLibrary.Cuda cuda = NativeLibrary.cuda();
    if (cuda.problem() != null) {
      line(out, "CUDA device", "none: " + cuda.problem());
    } else {
      deviceLines(out, cuda);
    }
    backendLines(out);
  }

  private static void deviceLines(PrintWriter out, NativeLibrary.Cuda cuda) {
    line(out, "CUDA driver", "supports CUDA " + cudaVersion(cuda.driverVersion()));
    for (NativeLibrary.Device device : cuda.devices()) {
      line(
          out,
          "CUDA device",
          String.format(
              Locale.ROOT,
              "%s, compute %d.%d, %.1f GB",
              device.name(),
              device.computeMajor(),
              device.computeMinor(),
              device.memoryBytes() / 1e9));
    }
    for (CudaLibraries.Library library : CudaLibraries.find()) {
      line(out, library.name(), library.path().map(Path::toString).orElse("not found"));
    }
  }

  /** What backend auto comes to, and where there is a device that is not used, why. */
  private static void backendLines(PrintWriter out) {
    try {
      NativeRuntime.initialize();
    } catch (NativeLoadException e) {
      return; // Reported above.
    }
    line(
        out,
        "LibTorch CUDA",
        CudaLibraries.inLibTorch()
            ? "built for CUDA, " + torch.cuda_device_count() + " device(s) usable"
            : "built for the CPU only");
    Backend automatic = Backend.AUTO.resolve();
    line(out, "backend", "auto is " + automatic + " here");
    if (automatic != Backend.CUDA && !NativeLibrary.cuda().devices().isEmpty()) {
      try {
        Backend.CUDA.resolve();
      } catch (NativeLoadException e) {
        line(out, "", "not cuda: " + e.getMessage());
      }
    }
  }

  private void modelLine(PrintWriter out) {
    try {
      line(out, "model", Glance.bundledModelFolder().toString());
    } catch (ModelFormatException e) {
      problem(out, "model", e);
    }
  }

  private static String cudaVersion(int version) {
    return version / 1000 + "." + version % 1000 / 10;
  }

  private void problem(PrintWriter out, String name, RuntimeException error) {
    healthy = false;
    line(out, name, "MISSING: " + error.getMessage());
  }

  private static void line(PrintWriter out, String name, String value) {
    out.printf("%-13s %s%n", name, value);
  }
}
