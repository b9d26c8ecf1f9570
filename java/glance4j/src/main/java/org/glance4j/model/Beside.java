package org.glance4j.model;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Supplier;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.InferenceMode;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.kernel.NativeRuntime.KernelsAlone;
import org.glance4j.kernel.NativeRuntime.TorchAlone;
import org.jspecify.annotations.Nullable;

/**
 * Work that a second thread does while the calling one goes on, where LibTorch leaves it idle: its
 * operations run on one thread (see {@link TorchThreads}) and the kernels have more. Its kernels
 * run on it alone, and so do the calling thread's if the kernels have two threads: a third would
 * take its CPU from one of the two. Elsewhere the work is done at once. Either way it gives the
 * same bits.
 *
 * <pre>
 * try (Beside&lt;Tensor&gt; second = Beside.start(device, () -&gt; ...)) {
 *   Tensor first = ...;
 *   return both(first, second.result());
 * }</pre>
 *
 * <p>For one thread. A scope of the calling thread does not see the work's tensors.
 */
public final class Beside<T> implements AutoCloseable {
  /** Idle threads end after a minute. */
  private static final ExecutorService THREADS = Executors.newCachedThreadPool(Beside::thread);

  private final CompletableFuture<T> work;

  /** Of the calling thread; null where that has its threads. */
  private @Nullable KernelsAlone alone;

  private Beside(CompletableFuture<T> work, @Nullable KernelsAlone alone) {
    this.work = work;
    this.alone = alone;
  }

  /**
   * Starts {@code work}, which is in inference mode if the calling thread is.
   *
   * @param device where it computes: on another than the CPU it is done at once, for streams and
   *     the current device are a thread's own
   */
  public static <T> Beside<T> start(Device device, Supplier<T> work) {
    if (!device.is_cpu() || !NativeRuntime.torchLeavesThreads()) {
      return new Beside<>(CompletableFuture.completedFuture(work.get()), null);
    }
    boolean inferring = InferenceMode.is_enabled();
    CompletableFuture<T> started =
        CompletableFuture.supplyAsync(
            () -> {
              try (TorchAlone torch = NativeRuntime.torchAlone();
                  KernelsAlone kernels = NativeRuntime.kernelsAlone();
                  InferenceMode inference = new InferenceMode(inferring)) {
                return work.get();
              }
            },
            THREADS);
    boolean two = NativeRuntime.kernelThreads() == 2;
    return new Beside<>(started, two ? NativeRuntime.kernelsAlone() : null);
  }

  /** What the work gave, when it is done; throws what it threw. */
  public T result() {
    try {
      T result = work.join();
      giveThreadsBack();
      return result;
    } catch (CompletionException e) {
      if (e.getCause() instanceof RuntimeException thrown) {
        throw thrown;
      }
      if (e.getCause() instanceof Error error) {
        throw error;
      }
      throw e;
    }
  }

  /** Waits for the work, so that nothing is freed that it uses. */
  @Override
  public void close() {
    work.handle((result, failure) -> null).join();
    giveThreadsBack();
  }

  private void giveThreadsBack() {
    if (alone != null) {
      alone.close();
      alone = null;
    }
  }

  private static Thread thread(Runnable work) {
    Thread thread = new Thread(work, "glance4j-beside");
    thread.setDaemon(true);
    return thread;
  }
}
