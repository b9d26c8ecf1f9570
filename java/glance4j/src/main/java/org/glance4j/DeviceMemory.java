package org.glance4j;

import java.util.Locale;
import java.util.OptionalLong;
import org.glance4j.cuda.CudaDevice;
import org.glance4j.kernel.Backend;

/** Whether there is memory enough where a backend computes. */
final class DeviceMemory {
  private static final long GIGABYTE = 1_000_000_000;

  private DeviceMemory() {}

  /**
   * Bytes free where {@code backend} computes, within {@value HostMemory#LIMIT}: on CUDA the
   * current device's, otherwise the host's; empty if the host does not say.
   */
  static OptionalLong availableBytes(Backend backend) {
    if (backend != Backend.CUDA) {
      return HostMemory.availableBytes();
    }
    CudaDevice.releaseCachedMemory();
    return OptionalLong.of(HostMemory.limited(CudaDevice.current().freeBytes()));
  }

  /** {@code bytes} for a message. */
  static String text(long bytes) {
    return bytes < GIGABYTE
        ? String.format(Locale.ROOT, "%.1f MB", bytes / 1e6)
        : String.format(Locale.ROOT, "%.1f GB", bytes / 1e9);
  }

  /**
   * Fails unless {@code needed} bytes are free: on CUDA the current device's, otherwise the host's.
   *
   * @param what needs the memory, as the message begins
   * @param fix what to do about it, as the message ends
   * @throws DeviceOutOfMemoryException with both figures
   */
  static void require(Backend backend, String what, long needed, String fix) {
    if (backend != Backend.CUDA) {
      HostMemory.require(what, needed, fix);
      return;
    }
    CudaDevice device = CudaDevice.current();
    if (needed > HostMemory.limited(device.freeBytes())) {
      // LibTorch keeps what was freed for itself, which the driver counts as taken.
      CudaDevice.releaseCachedMemory();
      device = CudaDevice.current();
    }
    require(device, what, needed, fix);
  }

  static void require(CudaDevice device, String what, long needed, String fix) {
    long free = HostMemory.limited(device.freeBytes());
    if (needed > free) {
      throw new DeviceOutOfMemoryException(
          "%s needs about %s, but only %s of %s are free on CUDA device %d, %s; %s"
              .formatted(
                  what,
                  text(needed),
                  text(free),
                  text(device.totalBytes()),
                  device.index(),
                  device.name(),
                  fix),
          null);
    }
  }

  /** True if {@code error} is an allocator's: LibTorch's or the kernels', on any device. */
  static boolean isExhausted(RuntimeException error) {
    String message = String.valueOf(error.getMessage());
    return message.contains("can't allocate memory")
        || message.contains("not enough memory")
        || message.contains("bad_alloc")
        || message.contains("out of memory");
  }
}
