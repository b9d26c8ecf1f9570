package org.glance4j;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalLong;

/** What the operating system says of memory. Empty where it does not say (other than Linux). */
public final class HostMemory {
  private HostMemory() {}

  /** Bytes that can be had without swapping, within the control group's limit if there is one. */
  public static OptionalLong availableBytes() {
    OptionalLong host = read(Path.of("/proc/meminfo"), "MemAvailable:");
    OptionalLong group = groupAvailableBytes();
    if (host.isEmpty() || group.isEmpty()) {
      return host;
    }
    return OptionalLong.of(Math.min(host.getAsLong(), group.getAsLong()));
  }

  /**
   * Fails unless {@code needed} bytes are free. Asked before large work: a host out of memory may
   * kill the process in place of failing a call.
   *
   * @param what needs the memory, as the message begins
   * @param available what {@link #availableBytes} says; where it says nothing, nothing is checked
   * @param fix what to do about it, as the message ends
   */
  static void require(String what, long needed, OptionalLong available, String fix) {
    if (available.isPresent() && needed > available.getAsLong()) {
      throw new DeviceOutOfMemoryException(
          "%s needs about %.1f GB, but only %.1f GB are free; %s"
              .formatted(what, needed / 1e9, available.getAsLong() / 1e9, fix),
          null);
    }
  }

  /** What a container may still take; pages of files can go, so they do not count. */
  private static OptionalLong groupAvailableBytes() {
    try {
      Path group = Path.of("/sys/fs/cgroup");
      long limit = Long.parseLong(Files.readString(group.resolve("memory.max")).trim());
      long used = Long.parseLong(Files.readString(group.resolve("memory.current")).trim());
      long files = 0;
      for (String line : Files.readAllLines(group.resolve("memory.stat"))) {
        if (line.startsWith("file ")) {
          files = Long.parseLong(line.substring("file ".length()).trim());
        }
      }
      return OptionalLong.of(Math.max(0, limit - used + files));
    } catch (IOException | NumberFormatException e) {
      return OptionalLong
          .empty(); // "max" where there is no limit; no file where there is no group.
    }
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
