package org.glance4j.model;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.cuda.CudaDevice;
import org.glance4j.kernel.Backend;
import org.jspecify.annotations.Nullable;

/**
 * Those parts of a model that need not be in memory at once: its text encoders and its transformer.
 * Either all of them stay open, or they take turns: using one that is not open closes the other
 * first, once nobody uses that any more, and then opens it.
 *
 * <p>Thread-safe. Where parts take turns, threads get them in the order they ask; one that waits
 * cannot be interrupted.
 */
public final class Turns implements AutoCloseable {
  private final boolean resident;
  private final Backend backend;
  private final List<Part<?>> parts = new ArrayList<>();

  /** A thread for each use that has not ended. */
  private final List<Thread> users = new ArrayList<>();

  private @Nullable Part<?> current;
  private long nextTicket;
  private long served;
  private boolean closed;

  /**
   * @param resident true to keep all parts open
   * @param backend where they compute
   */
  public Turns(boolean resident, Backend backend) {
    this.resident = resident;
    this.backend = backend;
  }

  /**
   * Adds a part; before any is used. It is opened at once if all stay open, otherwise when it is
   * first used.
   *
   * @param name for messages, with its article
   * @param bytes how much memory of its own it takes
   * @param open loads it, on the thread that first uses it; its tensors must not belong to that
   *     thread's {@link org.bytedeco.javacpp.PointerScope}
   * @param close frees it
   */
  public synchronized <T> Part<T> part(
      String name, long bytes, Supplier<T> open, Consumer<T> close) {
    Part<T> part = new Part<>(name, bytes, open, close);
    parts.add(part);
    if (resident) {
      part.load();
    }
    return part;
  }

  /** How much more memory than now the parts will take when the largest of them has its turn. */
  public synchronized long pendingBytes() {
    if (resident) {
      return 0;
    }
    long largest = parts.stream().mapToLong(part -> part.bytes).max().orElse(0);
    return largest - (current == null ? 0 : current.bytes);
  }

  private synchronized void begin(Part<?> part) {
    requireOpen();
    if (resident) {
      return;
    }
    Thread thread = Thread.currentThread();
    if (users.contains(thread)) {
      requireSame(part);
    } else {
      long ticket = nextTicket++;
      try {
        awaitTurn(part, ticket);
        open(part);
      } finally {
        served++;
        notifyAll();
      }
    }
    users.add(thread);
  }

  /** A thread that waited for itself would wait for ever. */
  private void requireSame(Part<?> part) {
    if (current != part) {
      String other = current == null ? "another part" : current.name;
      throw new IllegalStateException(
          "this thread still uses %s, which takes turns in memory with %s; close its denoiser first"
              .formatted(other, part.name));
    }
  }

  private void awaitTurn(Part<?> part, long ticket) {
    boolean interrupted = false;
    while (served != ticket || (current != part && !users.isEmpty())) {
      try {
        wait();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    requireOpen();
  }

  private void open(Part<?> part) {
    if (current == part) {
      return;
    }
    Part<?> other = current;
    current = null;
    if (other != null) {
      other.free();
      giveBack();
    }
    part.load();
    current = part;
  }

  /** Freed memory is not yet the system's, or the device's: allocators keep it. */
  private void giveBack() {
    if (backend == Backend.CUDA) {
      CudaDevice.releaseCachedMemory();
    } else {
      Pointer.trimMemory();
    }
  }

  private synchronized void end(Thread thread) {
    users.remove(thread);
    notifyAll();
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("this model is closed");
    }
  }

  /** Frees all parts. Idempotent; none may be in use. */
  @Override
  public synchronized void close() {
    closed = true;
    current = null;
    parts.forEach(Part::free);
    notifyAll();
  }

  /** One of the parts. */
  public final class Part<T> {
    private final String name;
    private final long bytes;
    private final Supplier<T> open;
    private final Consumer<T> close;
    private @Nullable T value;

    private Part(String name, long bytes, Supplier<T> open, Consumer<T> close) {
      this.name = name;
      this.bytes = bytes;
      this.open = open;
      this.close = close;
    }

    /** The part, open until {@link Use#close()}, which must come. */
    public Use<T> use() {
      begin(this);
      T opened = value;
      if (opened == null) {
        throw new IllegalStateException(name + " is not open");
      }
      return new Use<>(opened, Turns.this);
    }

    /** Calls {@code work} with the part, which stays open meanwhile. */
    public <R> R with(Function<T, R> work) {
      try (Use<T> use = use()) {
        return work.apply(use.get());
      }
    }

    /** Calls {@code work} with the part if it is open. */
    public void ifOpen(Consumer<T> work) {
      synchronized (Turns.this) {
        if (value != null) {
          work.accept(value);
        }
      }
    }

    /** True if it is in memory. */
    public boolean isOpen() {
      synchronized (Turns.this) {
        return value != null;
      }
    }

    /** A denoiser made of the part, which stays open until that is closed. */
    public Denoiser denoiser(Function<T, Denoiser> make) {
      Use<T> use = use();
      try {
        return new HeldDenoiser(make.apply(use.get()), use);
      } catch (RuntimeException | Error e) {
        use.close();
        throw e;
      }
    }

    /** With gradients off or on as when a model is opened, whatever the user has them at. */
    private void load() {
      try (InferenceMode off = new InferenceMode(false)) {
        value = open.get();
      }
    }

    private void free() {
      T opened = value;
      value = null;
      if (opened != null) {
        close.accept(opened);
      }
    }
  }

  /** A part in use by one thread. */
  public static final class Use<T> implements AutoCloseable {
    private final T part;
    private final Turns turns;
    private final Thread thread = Thread.currentThread();
    private boolean ended;

    private Use(T part, Turns turns) {
      this.part = part;
      this.turns = turns;
    }

    /** The part; not for after {@link #close()}. */
    public T get() {
      return part;
    }

    /** Ends the use. Idempotent. */
    @Override
    public void close() {
      if (!ended) {
        ended = true;
        turns.end(thread);
      }
    }
  }

  private record HeldDenoiser(Denoiser denoiser, Use<?> use) implements Denoiser {
    @Override
    public Velocity velocity(int stepIndex, Tensor latents) {
      return denoiser.velocity(stepIndex, latents);
    }

    @Override
    public Velocity unguided(int stepIndex, Tensor latents) {
      return denoiser.unguided(stepIndex, latents);
    }

    @Override
    public Selected selected(StepTable table) {
      return denoiser.selected(table);
    }

    @Override
    public void close() {
      use.close();
    }
  }
}
