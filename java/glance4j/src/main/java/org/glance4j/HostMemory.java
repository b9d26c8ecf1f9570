package org.glance4j;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/** What the operating system says of memory. Empty where it does not say (other than Linux). */
public final class HostMemory {
  /**
   * The system property that caps what is taken as free, on the host and on a CUDA device: a number
   * of bytes.
   */
  public static final String LIMIT = "glance.memory.limit";

  /** Asking takes as long as some operations of a small model, and every picture asks. */
  private static final long RECENT_NANOS = 1_000_000_000;

  /** What is this much less than was free a moment ago is there. */
  private static final long PLENTY = 16;

  /** What {@link #availableBytes} said, and when. */
  private record Reading(long available, long nanos) {}

  private static volatile @Nullable Reading last;

  private HostMemory() {}

  /**
   * Bytes that can be had without swapping, within the control group's limit if there is one, and
   * within {@value #LIMIT}.
   */
  public static OptionalLong availableBytes() {
    OptionalLong free = freeBytes();
    if (free.isPresent()) {
      return OptionalLong.of(limited(free.getAsLong()));
    }
    long limit = limit();
    return limit == Long.MAX_VALUE ? free : OptionalLong.of(limit);
  }

  /** {@code free}, or the limit if that is less. */
  static long limited(long free) {
    return Math.min(free, limit());
  }

  private static long limit() {
    String text = System.getProperty(LIMIT, "");
    if (text.isBlank()) {
      return Long.MAX_VALUE;
    }
    try {
      return Long.parseLong(text.trim());
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(
          "system property " + LIMIT + " is \"" + text + "\"; it must be a number of bytes", e);
    }
  }

  private static OptionalLong freeBytes() {
    OptionalLong host = read(Path.of("/proc/meminfo"), "MemAvailable:");
    OptionalLong group = groupAvailableBytes();
    if (host.isEmpty() || group.isEmpty()) {
      return host;
    }
    return OptionalLong.of(Math.min(host.getAsLong(), group.getAsLong()));
  }

  /** As {@link #require(String, long, OptionalLong, String)}, with what is free now. */
  static void require(String what, long needed, String fix) {
    Reading recent = last;
    if (recent != null
        && System.nanoTime() - recent.nanos() < RECENT_NANOS
        && needed < limited(recent.available()) / PLENTY) {
      return;
    }
    OptionalLong available = availableBytes();
    if (available.isPresent()) {
      last = new Reading(available.getAsLong(), System.nanoTime());
    }
    require(what, needed, available, fix);
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
          "%s needs about %s, but only %s are free; %s"
              .formatted(
                  what, DeviceMemory.text(needed), DeviceMemory.text(available.getAsLong()), fix),
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

  /** Reads no further than the line it looks for: this is asked for every picture. */
  private static OptionalLong read(Path file, String key) {
    try (BufferedReader lines = Files.newBufferedReader(file)) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
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
