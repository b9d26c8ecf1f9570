package org.glance4j.cuda;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.SizeTPair;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.NativeLoadException;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeLibrary;

/**
 * A CUDA device as it was when asked.
 *
 * @param index its number in this process
 * @param name as the driver calls it
 * @param computeMajor compute capability, before the point
 * @param computeMinor and after it
 * @param totalBytes its whole memory
 * @param freeBytes what the driver has not handed out yet, to any process
 */
public record CudaDevice(
    int index, String name, int computeMajor, int computeMinor, long totalBytes, long freeBytes) {

  /**
   * All devices, in the driver's order.
   *
   * @throws NativeLoadException if backend cuda cannot run here; the message says what is missing
   */
  public static List<CudaDevice> all() {
    Backend.CUDA.resolve();
    List<NativeLibrary.Device> found = NativeLibrary.cuda().devices();
    List<CudaDevice> devices = new ArrayList<>();
    for (int i = 0; i < found.size(); i++) {
      devices.add(of(i, found.get(i)));
    }
    return devices;
  }

  /**
   * The calling thread's current device, on which models are loaded.
   *
   * @throws NativeLoadException as {@link #all()}
   */
  public static CudaDevice current() {
    Backend.CUDA.resolve();
    int index = torch.getDeviceIndex();
    return of(index, NativeLibrary.cuda().devices().get(index));
  }

  private static CudaDevice of(int index, NativeLibrary.Device device) {
    try (SizeTPair freeAndTotal = torch.getMemoryInfo((byte) index)) {
      return new CudaDevice(
          index,
          device.name(),
          device.computeMajor(),
          device.computeMinor(),
          freeAndTotal.second(),
          freeAndTotal.first());
    }
  }

  /** Gives the driver back the memory that LibTorch holds and does not use, on every device. */
  public static void releaseCachedMemory() {
    Backend.CUDA.resolve();
    torch.emptyCache();
  }
}
