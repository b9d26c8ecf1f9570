package org.glance4j.benchmarks.report;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.benchmarks.kernel.Place;
import org.glance4j.kernel.NativeLibrary;

/**
 * What was measured on, and with.
 *
 * @param cpu as the CPU calls itself
 * @param device what the kernels ran on: a CUDA device's name, or the CPU's again
 * @param cores that this process may use
 * @param threads of LibTorch and of the kernels
 * @param instructionSets the kernels' own, the one in use last
 * @param load how many other processes wanted a CPU in the minute before; below 0 if unknown
 */
public record Machine(
    String cpu,
    String device,
    int cores,
    int threads,
    double memoryGigabytes,
    String instructionSets,
    String os,
    String jdk,
    String libTorch,
    String openBlas,
    double load) {

  /** This machine now, once LibTorch and the kernels are loaded. */
  public static Machine here() {
    String cpu = field(Path.of("/proc/cpuinfo"), "model name", "unknown CPU");
    return new Machine(
        cpu,
        Place.device(cpu),
        Runtime.getRuntime().availableProcessors(),
        torch.get_num_threads(),
        kibibytes(field(Path.of("/proc/meminfo"), "MemTotal", "0 kB")) * 1024 / 1e9,
        NativeLibrary.cpuFeatures(),
        System.getProperty("os.name") + " " + System.getProperty("os.version"),
        System.getProperty("java.vm.name") + " " + System.getProperty("java.runtime.version"),
        version("pytorch"),
        version("openblas"),
        ManagementFactory.getOperatingSystemMXBean().getSystemLoadAverage());
  }

  /** The text after the colon of the first line that begins with {@code key}. */
  static String field(Path file, String key, String otherwise) {
    try {
      for (String line : Files.readAllLines(file)) {
        if (line.startsWith(key)) {
          return line.substring(line.indexOf(':') + 1).trim();
        }
      }
    } catch (IOException e) {
      return otherwise;
    }
    return otherwise;
  }

  private static double kibibytes(String text) {
    return Double.parseDouble(text.replace("kB", "").trim());
  }

  private static String version(String artifact) {
    try {
      return Loader.getVersion("org.bytedeco", artifact);
    } catch (IOException e) {
      return "unknown";
    }
  }
}
