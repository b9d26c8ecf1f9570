package org.glance4j;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalLong;

/** What the operating system says of memory. Empty where it does not say (other than Linux). */
public final class HostMemory {
  private HostMemory() {}

  /** Bytes that can be had without swapping. */
  public static OptionalLong availableBytes() {
    return read(Path.of("/proc/meminfo"), "MemAvailable:");
  }

  /** The most memory this process has had resident, in bytes, mapped weights included. */
  public static OptionalLong peakResidentBytes() {
    return read(Path.of("/proc/self/status"), "VmHWM:");
  }

  /** The memory this process has resident now, in bytes, mapped weights included. */
  public static OptionalLong residentBytes() {
    return read(Path.of("/proc/self/status"), "VmRSS:");
  }

  private static OptionalLong read(Path file, String key) {
    try {
      for (String line : Files.readAllLines(file)) {
        if (line.startsWith(key)) {
          long kibibytes = Long.parseLong(line.substring(key.length()).replace("kB", "").trim());
          return OptionalLong.of(kibibytes * 1024);
        }
      }
    } catch (IOException | NumberFormatException e) {
      return OptionalLong.empty();
    }
    return OptionalLong.empty();
  }
}
