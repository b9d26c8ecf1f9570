package org.glance4j;

import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.BooleanSupplier;
import org.glance4j.kernel.NativeRuntime;
import org.jspecify.annotations.Nullable;

/**
 * A loaded text-to-image model: the way in. For example
 *
 * <pre>{@code
 * try (Glance glance = Glance.loadBundled()) {
 *   ImageRequest request = ImageRequest.builder("red apple").seed(7).build();
 *   glance.generate(request).image().writePng(Path.of("apple.png"));
 * }
 * }</pre>
 *
 * <p>Thread-safe. Each generation uses all of the threads LibTorch has, so concurrent calls take
 * turns, first come first served. The same request gives the same picture, bit for bit, on the same
 * machine and version with the same options.
 */
public final class Glance implements AutoCloseable {
  /** Replaced by who holds the turn. */
  private volatile LoadedModel loaded;

  private final PromptCache prompts;
  private final ReentrantLock turn = new ReentrantLock(true);
  private final ExecutorService worker = Executors.newSingleThreadExecutor(Glance::workerThread);
  private volatile boolean closed;
  private boolean released;

  private Glance(LoadedModel loaded) {
    this.loaded = loaded;
    this.prompts = new PromptCache(loaded.model());
  }

  /**
   * Loads a Hugging Face diffusers folder with default options.
   *
   * @throws ModelFormatException if a file is missing, damaged or not supported
   * @throws NativeLoadException if the native libraries cannot be loaded
   */
  public static Glance load(Path modelFolder) {
    return load(modelFolder, GlanceOptions.DEFAULTS);
  }

  /**
   * Loads a Hugging Face diffusers folder. Weights are memory-mapped; where their type is not the
   * options' dtype they are converted, which takes memory of its own.
   *
   * @throws ModelFormatException if a file is missing, damaged or not supported
   * @throws NativeLoadException if the native libraries or the backend asked for cannot be loaded
   */
  public static Glance load(Path modelFolder, GlanceOptions options) {
    NativeRuntime.initialize();
    return new Glance(LoadedModel.open(modelFolder, modelFolder, options));
  }

  /** Loads the bundled tiny model (artifact glance4j-tiny) with default options. */
  public static Glance loadBundled() {
    return loadBundled(GlanceOptions.DEFAULTS);
  }

  /** Loads the bundled tiny model (artifact glance4j-tiny). */
  public static Glance loadBundled(GlanceOptions options) {
    NativeRuntime.initialize();
    return new Glance(LoadedModel.open(null, BundledModel.folder(), options));
  }

  /**
   * The folder of the bundled tiny model (artifact glance4j-tiny) on disk.
   *
   * @throws ModelFormatException if the artifact is not on the class path
   */
  public static Path bundledModelFolder() {
    return BundledModel.folder();
  }

  /** Loads the model a recipe names, the way it was loaded for the recipe's picture. */
  public static Glance load(Recipe recipe) {
    Path model = recipe.model();
    return model == null ? loadBundled(recipe.options()) : load(model, recipe.options());
  }

  /** How the model is loaded now: with the preset's name and adapters where one is in force. */
  public GlanceOptions options() {
    return loaded.inForce();
  }

  /**
   * {@code request} with everything it leaves open filled in: size, schedule, cfg, text tokens.
   * {@link #generate} does this itself.
   *
   * @throws IllegalArgumentException if the request does not fit this model; the message says the
   *     value and the fix
   */
  public ImageRequest complete(ImageRequest request) {
    requireOpen();
    return loaded.complete(request);
  }

  /**
   * Draws the images of {@code request} on the calling thread, which interrupting does not stop.
   *
   * @throws IllegalArgumentException if the request does not fit this model; the message says the
   *     value and the fix
   * @throws DeviceOutOfMemoryException if the request needs more memory than there is
   * @throws GenerationCancelledException if this is closed meanwhile
   * @throws IllegalStateException if this is closed
   */
  public Generation generate(ImageRequest request) {
    requireOpen();
    return generate(request, () -> false);
  }

  /**
   * Draws the images of {@code request} on a thread of this object's own. Cancelling the future, or
   * completing it in any other way (such as a timeout), stops the work before its next step;
   * closing this completes it with {@link GenerationCancelledException}.
   *
   * @throws IllegalStateException if this is closed
   */
  public CompletableFuture<Generation> generateAsync(ImageRequest request) {
    requireOpen();
    CompletableFuture<Generation> future = new CompletableFuture<>();
    try {
      worker.execute(() -> complete(future, request));
    } catch (RejectedExecutionException e) {
      throw new IllegalStateException("this Glance is closed", e);
    }
    return future;
  }

  /**
   * Replaces the adapters of this model, whose weights stay where they are. Takes its turn with
   * generations: those under way and before it in the queue still use the old ones, which are then
   * freed. If a file cannot be used, the old adapters stay. After this the model is as if it had
   * been loaded with these adapters and {@link Preset#NONE}.
   *
   * @param slow the SLOW phase's adapter file, or null for none
   * @param fast the FAST phase's adapter file, or null for none
   * @param scale see {@link GlanceOptions#loraScale()}
   * @throws ModelFormatException if a file is missing, damaged or not for this model
   * @throws IllegalStateException if this is closed, or if called by a generation's listener
   */
  public void useAdapters(@Nullable Path slow, @Nullable Path fast, double scale) {
    if (turn.isHeldByCurrentThread()) {
      throw new IllegalStateException(
          "a listener cannot replace the adapters its own generation uses; do it after generate");
    }
    turn.lock();
    try {
      requireOpen();
      LoadedModel old = loaded;
      loaded =
          old.withAdapters(
              old.options().toBuilder()
                  .slowLora(slow)
                  .fastLora(fast)
                  .loraScale(scale)
                  .preset(Preset.NONE)
                  .build());
    } finally {
      turn.unlock();
    }
  }

  /**
   * Frees the model. Idempotent; may be called from any thread at any time: a generation under way
   * stops before its next step, and this waits for it (unless it is called by that generation's own
   * listener).
   */
  @Override
  public void close() {
    closed = true;
    worker.shutdown();
    if (turn.isHeldByCurrentThread()) {
      return; // From a listener: the generation frees the model as it ends.
    }
    turn.lock();
    try {
      release();
    } finally {
      turn.unlock();
    }
  }

  private Generation generate(ImageRequest request, BooleanSupplier stopRequested) {
    turn.lock();
    try {
      checkStop(stopRequested);
      LoadedModel model = loaded;
      ImageRequest completed = model.complete(request);
      return new Generator(model, prompts, completed, () -> checkStop(stopRequested)).run();
    } finally {
      if (closed) {
        release();
      }
      turn.unlock();
    }
  }

  private void complete(CompletableFuture<Generation> future, ImageRequest request) {
    try {
      future.complete(generate(request, future::isDone));
    } catch (Throwable e) {
      future.completeExceptionally(e);
    }
  }

  private void checkStop(BooleanSupplier stopRequested) {
    if (closed) {
      throw new GenerationCancelledException("stopped: this Glance was closed");
    }
    if (stopRequested.getAsBoolean()) {
      throw new GenerationCancelledException(
          "stopped: the generation's future was cancelled or completed");
    }
  }

  /** Holds the turn. */
  private void release() {
    if (!released) {
      released = true;
      prompts.close();
      loaded.close();
    }
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("this Glance is closed");
    }
  }

  private static Thread workerThread(Runnable task) {
    Thread thread = new Thread(task, "glance4j-worker");
    thread.setDaemon(true);
    return thread;
  }
}
