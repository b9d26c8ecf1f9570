package org.glance4j.cuda;

import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.pytorch.cuda.CUDAStream;
import org.bytedeco.pytorch.global.torch_cuda;
import org.glance4j.NativeLoadException;
import org.glance4j.kernel.Backend;

/**
 * Measures time on the device between two points of the thread's current stream, by CUDA events.
 * Neither point waits for the device.
 *
 * <p>Needs the class path of the artifact {@code glance4j-cuda}. For one thread.
 */
public final class CudaTimer implements AutoCloseable {
  private final CUevent_st begin = newEvent();
  private final CUevent_st end = newEvent();
  private boolean closed;

  private static CUevent_st newEvent() {
    Backend.CUDA.resolve();
    CUevent_st event = new CUevent_st();
    check(cudart.cudaEventCreate(event));
    return event;
  }

  /**
   * Marks the beginning: when the work queued so far is done.
   *
   * @throws NativeLoadException if backend cuda cannot run here
   */
  public void start() {
    mark(begin);
  }

  /** Marks the end: when the work queued so far is done. */
  public void stop() {
    mark(end);
  }

  private void mark(CUevent_st event) {
    requireOpen();
    try (CUDAStream stream = torch_cuda.getCurrentCUDAStream()) {
      check(cudart.cudaEventRecord(event, stream.stream()));
    }
  }

  /**
   * Waits for the end and gives the time since the beginning, in milliseconds; half a microsecond
   * is the resolution.
   *
   * @throws IllegalStateException if one of the two is not marked
   */
  public double elapsedMillis() {
    requireOpen();
    float[] millis = new float[1];
    check(cudart.cudaEventSynchronize(end));
    check(cudart.cudaEventElapsedTime(millis, begin, end));
    return millis[0];
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("the timer is closed");
    }
  }

  private static void check(int status) {
    if (status != cudart.cudaSuccess) {
      throw new IllegalStateException(
          "CUDA events: " + cudart.cudaGetErrorString(status).getString());
    }
  }

  /** Frees the events. Idempotent. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      cudart.cudaEventDestroy(begin);
      cudart.cudaEventDestroy(end);
    }
  }
}
