package org.glance4j.cuda;

import org.bytedeco.cuda.cudart.CUgraphExec_st;
import org.bytedeco.cuda.cudart.CUgraph_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.LongPair;
import org.bytedeco.pytorch.Stream;
import org.bytedeco.pytorch.cuda.CUDAStream;
import org.bytedeco.pytorch.cuda.MemPool;
import org.bytedeco.pytorch.cuda.StreamFilter;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch_cuda;
import org.glance4j.NativeLoadException;
import org.glance4j.kernel.Backend;

/**
 * Work of a CUDA stream, recorded once and launched as a whole from then on. It computes with the
 * memory that it was recorded with: what changes between launches must be written there.
 *
 * <p>Needs the class path of the artifact {@code glance4j-cuda}. A graph is for one thread at a
 * time; recordings of different threads take turns.
 */
public final class CudaGraph implements AutoCloseable {
  private final byte device;
  private final CUstream_st recordedOn;
  private final LongPair pool;
  private final CUgraphExec_st executable;
  private boolean closed;

  private CudaGraph(byte device, CUstream_st recordedOn, LongPair pool, CUgraphExec_st executable) {
    this.device = device;
    this.recordedOn = recordedOn;
    this.pool = pool;
    this.executable = executable;
  }

  /**
   * Records what {@code work} queues on the thread's current stream, which is another one
   * meanwhile. Nothing of it is run. Waits for the work queued before.
   *
   * @param work must neither wait for the device nor copy between it and the host, and must have
   *     run before, for what libraries do at their first call cannot be recorded. Tensors it makes
   *     keep their memory until {@link #close()}, closed or not
   * @throws NativeLoadException if backend cuda cannot run here
   * @throws IllegalStateException if CUDA refuses to record something; the message has its reason
   */
  public static CudaGraph record(Runnable work) {
    Backend.CUDA.resolve().synchronize();
    byte device = torch.getDeviceIndex();
    // LibTorch's allocator and the driver each allow one recording at a time.
    synchronized (CudaGraph.class) {
      try (Stream before = torch.getCurrentStream(device);
          CUDAStream side = torch_cuda.getStreamFromPool(false, device)) {
        torch_cuda.setCurrentCUDAStream(side);
        try {
          return record(device, side.stream(), work);
        } finally {
          torch.setCurrentStream(before);
        }
      }
    }
  }

  private static CudaGraph record(byte device, CUstream_st stream, Runnable work) {
    LongPair pool = MemPool.graph_pool_handle(false).retainReference();
    boolean recorded = false;
    try (OnStream filter = new OnStream(stream)) {
      CUgraphExec_st executable;
      torch_cuda.beginAllocateToPool(device, pool, filter);
      try {
        executable = instantiated(captured(device, stream, work));
      } finally {
        torch_cuda.endAllocateToPool(device, pool);
      }
      recorded = true;
      return new CudaGraph(device, stream, pool, executable);
    } finally {
      if (!recorded) {
        torch_cuda.getAllocator().releasePool(device, pool);
        pool.close();
      }
    }
  }

  /** Other threads may go on with theirs: only this one is kept from what cannot be recorded. */
  private static CUgraph_st captured(byte device, CUstream_st stream, Runnable work) {
    check(
        "begin to record",
        cudart.cudaStreamBeginCapture(stream, cudart.cudaStreamCaptureModeThreadLocal));
    torch_cuda.markCaptureBegin(device);
    CUgraph_st graph = new CUgraph_st();
    boolean finished = false;
    int status;
    try {
      work.run();
      finished = true;
    } finally {
      status = cudart.cudaStreamEndCapture(stream, graph);
      torch_cuda.markCaptureEnd(device);
      if (!finished && !graph.isNull()) {
        cudart.cudaGraphDestroy(graph);
      }
    }
    check("record this work", status);
    return graph;
  }

  private static CUgraphExec_st instantiated(CUgraph_st graph) {
    CUgraphExec_st executable = new CUgraphExec_st();
    try {
      check("make the recorded work launchable", cudart.cudaGraphInstantiate(executable, graph, 0));
      return executable;
    } finally {
      cudart.cudaGraphDestroy(graph);
    }
  }

  /**
   * Queues the work on the thread's current stream.
   *
   * @throws IllegalStateException after {@link #close()}, or with CUDA's reason
   */
  public void replay() {
    if (closed) {
      throw new IllegalStateException("the CUDA graph is closed");
    }
    try (CUDAStream stream = torch_cuda.getCurrentCUDAStream(device)) {
      check("launch the recorded work", cudart.cudaGraphLaunch(executable, stream.stream()));
    }
  }

  /** Frees the graph and the memory it computes with, once the device is done. Idempotent. */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    torch.synchronizeDevice(device);
    cudart.cudaGraphExecDestroy(executable);
    // Products that LibTorch left to cuBLAS have their workspace in the pool.
    torch_cuda.clearCublasWorkspacesForStream(recordedOn);
    torch_cuda.getAllocator().releasePool(device, pool);
    pool.close();
  }

  private static void check(String what, int status) {
    if (status != cudart.cudaSuccess) {
      throw new IllegalStateException(
          "CUDA cannot " + what + ": " + cudart.cudaGetErrorString(status).getString());
    }
  }

  /** Tells LibTorch's allocator which allocations are the graph's own. */
  private static final class OnStream extends StreamFilter {
    private final long stream;

    OnStream(CUstream_st stream) {
      this.stream = stream.address();
    }

    @Override
    public boolean call(Pointer candidate) {
      return !Pointer.isNull(candidate) && candidate.address() == stream;
    }
  }
}
