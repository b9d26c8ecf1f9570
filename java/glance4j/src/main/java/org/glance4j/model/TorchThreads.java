package org.glance4j.model;

import java.util.function.Supplier;
import org.glance4j.kernel.NativeRuntime;

/**
 * How many threads LibTorch's operations get beside the kernels: one for a small model, whose
 * operations are done before a second thread has woken. Immutable and thread-safe.
 */
public final class TorchThreads {
  /** A thread takes some 50 us to wake, in which LibTorch does an operation on so many values. */
  private static final long SMALL_OPERATION = 1 << 18;

  private final boolean alone;

  private TorchThreads(boolean alone) {
    this.alone = alone;
  }

  /**
   * For work on pictures of a size with {@code model}: with its text encoders, whose width is that
   * of the text the transformer reads, or its transformer. Not for the VAE, whose operations are
   * larger.
   *
   * @param textTokens of a prompt
   */
  public static TorchThreads of(ImageModel model, ImageSize size, int textTokens) {
    long tokens = model.imageTokens(size) + (long) textTokens;
    return new TorchThreads(tokens * model.widestLinear() < SMALL_OPERATION);
  }

  /** What {@code work} gives, run on this thread with as many LibTorch threads as are worth it. */
  public <T> T run(Supplier<T> work) {
    if (!alone) {
      return work.get();
    }
    try (NativeRuntime.TorchAlone torchAlone = NativeRuntime.torchAlone()) {
      return work.get();
    }
  }
}
