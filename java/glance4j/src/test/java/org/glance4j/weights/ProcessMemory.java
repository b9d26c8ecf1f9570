package org.glance4j.weights;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;

/** What Linux says of this process's memory. */
public final class ProcessMemory {
  private static final Path PROC = Path.of("/proc/self");

  private ProcessMemory() {}

  /** Resident bytes, mapped files included. */
  public static long residentBytes() {
    return read("status")
            .lines()
            .filter(line -> line.startsWith("VmRSS:"))
            .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
            .findFirst()
            .orElseThrow()
        * 1024;
  }

  /** True if any part of {@code file} is mapped. */
  static boolean maps(Path file) {
    return read("maps").contains(file.getFileName().toString());
  }

  private static String read(String name) {
    Assumptions.assumeTrue(Files.exists(PROC), "needs /proc");
    try {
      return Files.readString(PROC.resolve(name));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
