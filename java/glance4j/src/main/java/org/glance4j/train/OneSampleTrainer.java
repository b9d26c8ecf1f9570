package org.glance4j.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.glance4j.AtomicFile;
import org.glance4j.DType;
import org.glance4j.Glance;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeRuntime;
import org.jspecify.annotations.Nullable;

/**
 * Trains the adapters of both phases, by the method of Glance (arXiv 2512.02899): the model stays
 * frozen, and one picture with its caption is enough. For example
 *
 * <pre>{@code
 * OneSampleTrainer trainer = OneSampleTrainer.builder()
 *     .sample(Path.of("fox.png"), "a fox in the snow")
 *     .output(Path.of("adapters"))
 *     .build();
 * TrainingResult adapters = trainer.train();
 * }</pre>
 *
 * <p>The same inputs give the same files, bit for bit, on the same machine and version. A training
 * that was cancelled or killed at any moment goes on where it was last saved when the same call is
 * made again, and ends in the same files.
 *
 * <p>Immutable but for {@link #cancel()}, which may be called from any thread. {@link #train()} may
 * be called by one thread at a time; two trainings into one folder are the caller's race.
 */
public final class OneSampleTrainer {
  private final @Nullable Path model;
  private final TrainingRecipe recipe;
  private final List<String> captions;
  private final List<String> validationCaptions;
  private final @Nullable Path picture;
  private final Path output;
  private final DType dtype;
  private final Backend backend;
  private final int threads;
  private final boolean checkpointing;
  private final boolean keepResident;
  private final int saveEvery;
  private final @Nullable TrainingListener listener;
  private volatile boolean cancelled;

  private OneSampleTrainer(Builder builder) {
    this.model = builder.model;
    this.recipe = builder.recipe;
    this.captions = List.copyOf(builder.captions);
    this.validationCaptions = List.copyOf(builder.validationCaptions);
    this.picture = builder.picture;
    this.output = Objects.requireNonNull(builder.output, "output: where the adapters go");
    this.dtype = builder.dtype;
    this.backend = builder.backend;
    this.threads = builder.threads;
    this.checkpointing = builder.checkpointing;
    this.keepResident = builder.keepResident;
    this.saveEvery = builder.saveEvery;
    this.listener = builder.listener;
    requireSample();
    requireUnseen();
  }

  private void requireSample() {
    if (captions.isEmpty() || captions.stream().anyMatch(String::isBlank)) {
      throw new IllegalArgumentException(
          captions.isEmpty()
              ? "there is no caption; say what the picture shows"
              : "a caption is blank; say what the picture shows");
    }
    if (recipe.target().needsPicture() && (picture == null || captions.size() != 1)) {
      throw new IllegalArgumentException(
          "target flow learns from one picture with one caption; given: %s and captions %s"
              .formatted(picture == null ? "no picture" : "a picture", captions));
    }
    if (!recipe.target().needsPicture() && picture != null) {
      throw new IllegalArgumentException(
          "target %s learns from captions alone; leave out the picture, or choose target flow"
              .formatted(recipe.target()));
    }
  }

  private void requireUnseen() {
    for (String caption : validationCaptions) {
      if (caption.isBlank()) {
        throw new IllegalArgumentException("a validation caption is blank; leave it out");
      }
      if (captions.contains(caption)) {
        throw new IllegalArgumentException(
            "validation caption \"%s\" is trained on as well; choose one that is not"
                .formatted(caption));
      }
    }
  }

  /** A builder for the bundled model and the published recipe. */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Trains on the calling thread.
   *
   * @throws IllegalArgumentException if picture, captions or recipe do not fit the model
   * @throws org.glance4j.ModelFormatException if model or picture cannot be read
   * @throws org.glance4j.DeviceOutOfMemoryException if there is not memory enough
   * @throws TrainingCancelledException after {@link #cancel()}
   * @throws IOException if a file cannot be written
   */
  public TrainingResult train() throws IOException {
    NativeRuntime.initialize();
    if (threads > 0) {
      NativeRuntime.setThreads(threads);
    }
    return new TrainingRun(this).run();
  }

  /** About how many bytes of memory {@link #train()} needs, the process as a whole. */
  public long requiredBytes() {
    return TrainingMemory.bytes(modelFolder(), recipe, dtype, checkpointing, keepResident);
  }

  /** Stops {@link #train()} before its next step; what is learnt so far is saved. */
  public void cancel() {
    cancelled = true;
  }

  void createOutput() throws IOException {
    Path parent = output.toAbsolutePath().getParent();
    if (!Files.isDirectory(output)) {
      if (parent == null || !Files.isDirectory(parent)) {
        throw new IOException("folder " + parent + " does not exist; create it first (mkdir -p)");
      }
      if (Files.exists(output)) {
        throw new IOException(output + " is a file; name a folder for the adapters");
      }
      Files.createDirectory(output);
    }
    for (ExpertRole role : ExpertRole.of(recipe)) {
      AtomicFile.requireWritable(output.resolve(role.file()));
    }
  }

  Path modelFolder() {
    return model == null ? Glance.bundledModelFolder() : model;
  }

  TrainingRecipe recipe() {
    return recipe;
  }

  List<String> captions() {
    return captions;
  }

  List<String> validationCaptions() {
    return validationCaptions;
  }

  @Nullable Path picture() {
    return picture;
  }

  Path output() {
    return output;
  }

  DType dtype() {
    return dtype;
  }

  Backend backend() {
    return backend;
  }

  boolean checkpointing() {
    return checkpointing;
  }

  boolean keepResident() {
    return keepResident;
  }

  int saveEvery() {
    return saveEvery;
  }

  @Nullable TrainingListener listener() {
    return listener;
  }

  void checkCancelled() {
    if (cancelled) {
      throw new TrainingCancelledException(
          "training was cancelled; the same command goes on from what is saved in " + output);
    }
  }

  /** Collects a training; not thread-safe. */
  public static final class Builder {
    private @Nullable Path model;
    private TrainingRecipe recipe = TrainingRecipe.published();
    private List<String> captions = List.of();
    private List<String> validationCaptions = List.of();
    private @Nullable Path picture;
    private @Nullable Path output;
    private DType dtype = DType.F32;
    private Backend backend = Backend.AUTO;
    private int threads;
    private boolean checkpointing;
    private boolean keepResident;
    private int saveEvery = 10;
    private @Nullable TrainingListener listener;

    private Builder() {}

    /** A model folder in the layout of Hugging Face diffusers; null for the bundled model. */
    public Builder model(@Nullable Path folder) {
      this.model = folder;
      return this;
    }

    /** How to train; default {@link TrainingRecipe#published()}. */
    public Builder recipe(TrainingRecipe value) {
      this.recipe = Objects.requireNonNull(value, "recipe");
      return this;
    }

    /**
     * The sample of target flow.
     *
     * @param file a picture in any format Java reads (PNG, JPEG, ...)
     * @param caption what it shows
     */
    public Builder sample(Path file, String caption) {
      this.picture = file;
      this.captions = List.of(caption);
      return this;
    }

    /** The captions that the base model teaches with, for targets other than flow; at least one. */
    public Builder captions(List<String> values) {
      this.picture = null;
      this.captions = List.copyOf(values);
      return this;
    }

    /**
     * Captions that are not trained on; one is enough. Up to twelve times during its training, and
     * before it, each expert walks its phase with them, with the recipe's CFG and distilled
     * guidance. The adapter written is the one that ended closest to the base model's own
     * trajectory: the untrained one, which changes nothing, if no other did better. The training is
     * no shorter for it. Without any captions, the default, the last adapter is written.
     */
    public Builder validationCaptions(List<String> values) {
      this.validationCaptions = List.copyOf(values);
      return this;
    }

    /**
     * The folder that receives {@code slow.safetensors}, {@code fast.safetensors} (or {@code
     * shared.safetensors}) and {@code loss.png}; created if its parent is there.
     */
    public Builder output(Path folder) {
      this.output = folder;
      return this;
    }

    /** The type the model computes in; the adapters are trained in f32. Default f32. */
    public Builder dtype(DType value) {
      this.dtype = Objects.requireNonNull(value, "dtype");
      return this;
    }

    /** Where the model computes; default {@link Backend#AUTO}. */
    public Builder backend(Backend value) {
      this.backend = Objects.requireNonNull(value, "backend");
      return this;
    }

    /** CPU threads, process-wide; 0, the default, leaves LibTorch's own choice. */
    public Builder threads(int value) {
      if (value < 0) {
        throw new IllegalArgumentException("threads " + value + " must be 0 (automatic) or more");
      }
      this.threads = value;
      return this;
    }

    /**
     * True to recompute each block's activations in the backward pass in place of keeping them: a
     * third more time, a fraction of the memory. Default false. The result is the same.
     */
    public Builder checkpointing(boolean value) {
      this.checkpointing = value;
      return this;
    }

    /**
     * True to keep the text encoders in memory while the transformer trains. Default false: they
     * are needed only before, and closing them costs no time.
     */
    public Builder keepResident(boolean value) {
      this.keepResident = value;
      return this;
    }

    /** After how many steps what is learnt is saved; default 10. */
    public Builder saveEvery(int steps) {
      if (steps < 1) {
        throw new IllegalArgumentException("saveEvery " + steps + " must be at least 1");
      }
      this.saveEvery = steps;
      return this;
    }

    /** Who is told of each step, or null. */
    public Builder listener(@Nullable TrainingListener value) {
      this.listener = value;
      return this;
    }

    /**
     * The trainer.
     *
     * @throws IllegalArgumentException if there is no output, the sample does not fit the target,
     *     or a validation caption is trained on as well
     */
    public OneSampleTrainer build() {
      if (output == null) {
        throw new IllegalArgumentException("there is no output; name a folder for the adapters");
      }
      return new OneSampleTrainer(this);
    }
  }
}
