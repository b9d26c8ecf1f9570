package org.glance4j;

import org.glance4j.cuda.CudaDevice;
import org.glance4j.kernel.Backend;

/** Whether there is memory enough where a backend computes. */
final class DeviceMemory {
  private DeviceMemory() {}

  /**
   * Fails unless {@code needed} bytes are free: on CUDA the current device's, otherwise the host's.
   *
   * @param what needs the memory, as the message begins
   * @param fix what to do about it, as the message ends
   * @throws DeviceOutOfMemoryException with both figures
   */
  static void require(Backend backend, String what, long needed, String fix) {
    if (backend != Backend.CUDA) {
      HostMemory.require(what, needed, HostMemory.availableBytes(), fix);
      return;
    }
    CudaDevice device = CudaDevice.current();
    if (needed > device.freeBytes()) {
      // LibTorch keeps what was freed for itself, which the driver counts as taken.
      CudaDevice.releaseCachedMemory();
      device = CudaDevice.current();
    }
    require(device, what, needed, fix);
  }

  static void require(CudaDevice device, String what, long needed, String fix) {
    if (needed > device.freeBytes()) {
      throw new DeviceOutOfMemoryException(
          "%s needs about %.1f GB, but only %.1f of %.1f GB are free on CUDA device %d, %s; %s"
              .formatted(
                  what,
                  needed / 1e9,
                  device.freeBytes() / 1e9,
                  device.totalBytes() / 1e9,
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
