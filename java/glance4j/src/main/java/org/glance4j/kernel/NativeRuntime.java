package org.glance4j.kernel;

import org.bytedeco.javacpp.Pointer;
import org.bytedeco.openblas.global.openblas_nolapack;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.jni.Kernels;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Settings of the native libraries below this one, for programs that set nothing themselves.
 *
 * <p>{@link #initialize()} must run before the program's first use of a JavaCPP class, for JavaCPP
 * reads its settings only once. Settings that the program has made are left alone. Thread-safe.
 *
 * <p>JavaCPP's messages go to SLF4J. It logs one harmless warning there, that the versions of
 * OpenBLAS and JavaCPP do not match; logger {@code org.bytedeco.javacpp} at level error hides it.
 */
public final class NativeRuntime {
  private static final Logger LOG = LoggerFactory.getLogger(NativeRuntime.class);
  private static final String MAX_PHYSICAL_BYTES = "org.bytedeco.javacpp.maxPhysicalBytes";

  static {
    // By default JavaCPP refuses to allocate once the process holds 4 times the Java heap, which
    // for weights and activations outside that heap is an arbitrary limit.
    setIfAbsent(MAX_PHYSICAL_BYTES, "0");
    setIfAbsent("org.bytedeco.javacpp.logger", "slf4j");
  }

  private NativeRuntime() {}

  /**
   * Loads LibTorch with the settings this library needs. Idempotent.
   *
   * @throws org.glance4j.NativeLoadException if LibTorch cannot be loaded
   */
  public static void initialize() {
    Loaded.check();
  }

  /** Makes the settings that JavaCPP reads when its first class loads: this class's own loading. */
  static void configure() {}

  /**
   * Sets how many threads LibTorch, OpenBLAS and the kernels use for one operation.
   *
   * @param threads 1 or more
   */
  public static void setThreads(int threads) {
    if (threads < 1) {
      throw new IllegalArgumentException("threads must be 1 or more, not " + threads);
    }
    initialize();
    torch.set_num_threads(threads);
    // LibTorch does not pass its setting on.
    openblas_nolapack.blas_set_num_threads(threads);
    setKernelThreads(threads);
  }

  /**
   * Has LibTorch's operations on this thread run on it alone until the result is closed, on this
   * thread, and OpenBLAS's, of all threads, on theirs; the kernels keep their threads. For
   * operations so small that waking a thread costs more than it saves: those of a model of some
   * 100,000 values a layer.
   */
  public static TorchAlone torchAlone() {
    initialize();
    return new TorchAlone();
  }

  /** True where LibTorch's operations on this thread leave threads idle that the kernels have. */
  public static boolean torchLeavesThreads() {
    initialize();
    return torch.get_num_threads() == 1 && kernelThreads() > 1;
  }

  /** See {@link #torchAlone()}. */
  public static final class TorchAlone implements AutoCloseable {
    /** Those open, of any thread, and what LibTorch had before the first of them. */
    private static int open;

    private static int common;

    /** What OpenBLAS had; 0 if nothing is known of it. */
    private static int blas;

    private final int before;

    private TorchAlone() {
      before = opened(torch.get_num_threads());
      torch.set_num_threads(1);
    }

    /** A thread's first use of LibTorch takes the setting of the last one that set it. */
    private static synchronized int opened(int own) {
      if (open++ == 0) {
        common = own;
        blas = setBlasThreads(1);
      }
      return own == 1 ? common : own;
    }

    private static synchronized void closed() {
      if (--open == 0 && blas > 0) {
        setBlasThreads(blas);
      }
    }

    /** In each step: JavaCPP's own setter looks symbols up anew, for 0.6 ms. */
    private static int setBlasThreads(int threads) {
      return NativeLibrary.failure() == null ? Kernels.glance_set_openblas_threads(threads) : 0;
    }

    /** Gives LibTorch its threads back. */
    @Override
    public void close() {
      torch.set_num_threads(before);
      closed();
    }
  }

  /** How many threads a kernel called on this thread may use. */
  public static int kernelThreads() {
    return NativeLibrary.failure() == null ? Kernels.glance_threads() : 1;
  }

  /**
   * Has the kernels called on this thread run on it alone until the result is closed, on this
   * thread: for when other threads have work of their own for the CPUs.
   */
  public static KernelsAlone kernelsAlone() {
    return new KernelsAlone();
  }

  /** See {@link #kernelsAlone()}. */
  public static final class KernelsAlone implements AutoCloseable {
    private final int before;

    private KernelsAlone() {
      before = set(1);
    }

    private static int set(int alone) {
      return NativeLibrary.failure() == null ? Kernels.glance_set_alone(alone) : 0;
    }

    /** Gives the kernels their threads back. */
    @Override
    public void close() {
      set(before);
    }
  }

  private static void setKernelThreads(int threads) {
    if (NativeLibrary.failure() == null) {
      NativeLibrary.check(Kernels.glance_set_threads(threads));
    }
  }

  private static void setIfAbsent(String property, String value) {
    if (System.getProperty(property) == null) {
      System.setProperty(property, value);
    }
  }

  /** Loading LibTorch, once: class initialisation is the lock. */
  private static final class Loaded {
    private static final LoadAttempt TORCH = load();

    private static LoadAttempt load() {
      // LibTorch's OpenMP threads and OpenBLAS's own threads work in turn. If both spin while they
      // wait, a generation on as many threads as CPUs takes up to fifty times as long.
      if (NativeLibrary.failure() == null) {
        Kernels.glance_let_idle_threads_sleep();
      }
      return LoadAttempt.of(
          "LibTorch",
          "org/bytedeco/pytorch",
          "libjnitorch.so",
          "org.glance4j:glance4j-platform (or org.bytedeco:pytorch, openblas and javacpp with the"
              + " classifier of this platform)",
          () -> torch.get_num_threads());
    }

    static {
      if (TORCH.failure() == null) {
        setKernelThreads(torch.get_num_threads());
      }
      if (TORCH.failure() == null && Pointer.maxPhysicalBytes() != 0) {
        LOG.warn(
            "JavaCPP limits this process to {} bytes of physical memory, which large models exceed;"
                + " call NativeRuntime.initialize() before any JavaCPP class is used, or start Java"
                + " with -D{}=0",
            Pointer.maxPhysicalBytes(),
            MAX_PHYSICAL_BYTES);
      }
    }

    static void check() {
      TORCH.throwIfFailed();
    }
  }
}
