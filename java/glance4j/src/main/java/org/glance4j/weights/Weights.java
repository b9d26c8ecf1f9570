package org.glance4j.weights;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.DeviceType;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.jspecify.annotations.Nullable;

/**
 * The weights of one model component: a folder's single safetensors file, or its shards and their
 * index. Owns every tensor it hands out: they live until {@link #close()}.
 *
 * <p>Where the file already has the model's type, a tensor is the mapped file itself and takes no
 * memory of its own. Every floating tensor taken is checked for NaN and infinity, which reads it
 * once.
 *
 * <p>Thread-safe. Filled by one thread while a model is built; after that only read.
 */
public final class Weights implements AutoCloseable {
  /**
   * Where a tensor comes from.
   *
   * @param file null if the weights are only described
   */
  private record Source(
      SafetensorsHeader header, TensorInfo info, @Nullable SafetensorsFile file) {}

  private final Path folder;
  private final Path origin;
  private final ScalarType dtype;
  private final UnaryOperator<Tensor> placement;
  private final List<SafetensorsFile> files = new ArrayList<>();
  private final Set<Source> taken = new HashSet<>();
  private final List<Tensor> owned = new ArrayList<>();
  private Map<String, Source> sources = new LinkedHashMap<>();
  private String strippedPrefix = "";
  private Predicate<String> ignored = name -> false;
  private boolean closed;

  private Weights(Path folder, Path origin, ScalarType dtype, UnaryOperator<Tensor> placement) {
    this.folder = folder;
    this.origin = origin;
    this.dtype = dtype;
    this.placement = placement;
  }

  /** Maps every file, or none if one of them cannot be mapped. */
  Weights(Path folder, WeightFiles weightFiles, ScalarType dtype, UnaryOperator<Tensor> placement) {
    this(folder, weightFiles.origin(), dtype, placement);
    try {
      weightFiles.headers().forEach(this::map);
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  /**
   * Opens the weights in {@code folder}: {@code diffusion_pytorch_model.safetensors} or {@code
   * model.safetensors}, or the shards that the {@code .index.json} beside them names.
   *
   * <p>Where both forms are there, the index wins for {@code diffusion_pytorch_model} and the
   * single file for {@code model}, as in the libraries that write these names. Other variants, such
   * as {@code model.fp16.safetensors}, are never chosen.
   *
   * @param dtype what floating-point tensors are converted to: Float, BFloat16, Half or Double;
   *     where the file has it already, there is no copy. Other tensors keep their type
   * @throws ModelFormatException if the files are missing, broken or do not fit their index
   */
  public static Weights open(Path folder, ScalarType dtype) {
    return open(folder, dtype, UnaryOperator.identity());
  }

  /**
   * As {@link #open(Path, ScalarType)}, for tensors that shall lie elsewhere than in the file.
   *
   * @param placement gives a tensor where the model computes: itself, or a copy
   */
  public static Weights open(Path folder, ScalarType dtype, UnaryOperator<Tensor> placement) {
    requireModelType(dtype);
    return new Weights(folder, WeightFiles.in(folder), dtype, placement);
  }

  /** As {@link #open(Path, ScalarType)}, from one file of any name. */
  public static Weights openFile(Path file, ScalarType dtype) {
    requireModelType(dtype);
    return new Weights(file, WeightFiles.of(file), dtype, UnaryOperator.identity());
  }

  /**
   * As {@link #open(Path, ScalarType)}, from the headers alone: the tensors have type and shape but
   * no values (LibTorch's device {@code meta}) and take no memory. A component built of them is
   * checked against its files in all but the values, and can compute nothing.
   *
   * @throws ModelFormatException as {@link #open(Path, ScalarType)}
   */
  public static Weights describe(Path folder, ScalarType dtype) {
    requireModelType(dtype);
    WeightFiles files = WeightFiles.in(folder);
    Weights weights = new Weights(folder, files.origin(), dtype, UnaryOperator.identity());
    files.headers().forEach(header -> weights.add(header, null));
    return weights;
  }

  private static void requireModelType(ScalarType dtype) {
    switch (dtype) {
      case Float, BFloat16, Half, Double -> {}
      default ->
          throw new IllegalArgumentException(
              "dtype " + dtype + " is not one a model can run in; use Float or BFloat16");
    }
  }

  private void map(SafetensorsHeader header) {
    SafetensorsFile file = SafetensorsFile.map(header);
    files.add(file);
    add(header, file);
  }

  private void add(SafetensorsHeader header, @Nullable SafetensorsFile file) {
    header.tensors().forEach((name, info) -> sources.put(name, new Source(header, info, file)));
  }

  /** The folder these weights came from, or the file given to {@link #openFile}. */
  public Path folder() {
    return folder;
  }

  /** What floating-point tensors are converted to. */
  public ScalarType dtype() {
    return dtype;
  }

  /**
   * Lets names that begin with {@code prefix} be asked for without it; other names stay. For
   * components that are saved with and without the name of a wrapper around them. Call it before
   * taking tensors.
   *
   * @return this
   * @throws ModelFormatException if two tensors would then have one name
   */
  public synchronized Weights stripPrefix(String prefix) {
    requireOpen();
    Map<String, Source> renamed = new LinkedHashMap<>();
    sources.forEach(
        (name, source) -> {
          boolean strip = name.startsWith(prefix);
          strippedPrefix = strip ? prefix : strippedPrefix;
          String shorter = strip ? name.substring(prefix.length()) : name;
          if (renamed.put(shorter, source) != null) {
            throw error(source, "is there with and without the prefix " + prefix);
          }
        });
    sources = renamed;
    return this;
  }

  /**
   * Lets {@link #requireAllTaken()} pass over tensors that such models carry but do not use, for
   * example position ids saved as a buffer. They are neither read nor checked.
   *
   * @param names true for a name (as {@link #take} would be given it) that may stay untaken
   * @return this
   */
  public synchronized Weights ignore(Predicate<String> names) {
    ignored = ignored.or(names);
    return this;
  }

  /** True if there is a tensor {@code name}. */
  public synchronized boolean contains(String name) {
    requireOpen();
    return sources.containsKey(name);
  }

  /**
   * The tensor {@code name}, which must have {@code shape}; marks it as taken.
   *
   * @throws ModelFormatException if it is missing, has another shape, or has a value that is not
   *     finite in this object's type; the message names file and tensor
   */
  public synchronized Tensor take(String name, long... shape) {
    requireOpen();
    Source source = sources.get(name);
    if (source == null) {
      throw ModelFormatException.in(
          origin,
          strippedPrefix + name,
          "is missing; these weights do not belong to the configuration beside them");
    }
    List<Long> expected = Arrays.stream(shape).boxed().toList();
    if (!source.info().shape().equals(expected)) {
      throw error(
          source,
          "has shape "
              + source.info().shape()
              + ", but the configuration asks for "
              + expected
              + "; these weights belong to another configuration");
    }
    try (PointerScope scope = new PointerScope()) {
      Tensor tensor = keep(load(source));
      taken.add(source);
      return tensor;
    }
  }

  private Tensor load(Source source) {
    TensorInfo info = source.info();
    if (source.file() != null) {
      return source.file().load(info.name(), dtype);
    }
    ScalarType type = SafetensorsDtype.isFloating(info.dtype()) ? dtype : info.dtype();
    return torch.empty(
        info.sizes(),
        new TensorOptions(type).device(new DeviceOptional(new Device(DeviceType.Meta))),
        null);
  }

  /**
   * {@code tensor} where these weights lie, which for files that are used in place is itself; it
   * lives until {@link #close()}, as the tensors taken do.
   */
  public synchronized Tensor keep(Tensor tensor) {
    requireOpen();
    Tensor placed = placement.apply(tensor);
    placed.retainReference();
    owned.add(placed);
    return placed;
  }

  /** True if {@code tensor} lies in a mapped file and takes no memory of its own. */
  public synchronized boolean isMapped(Tensor tensor) {
    return files.stream().anyMatch(file -> file.maps(tensor));
  }

  /** Frees a tensor taken, or given to {@link #keep}, before {@link #close()} does. */
  @SuppressWarnings("ReferenceEquality")
  public synchronized void release(Tensor tensor) {
    // Not List.remove: pointers compare by address, and a freed address comes again.
    if (owned.removeIf(kept -> kept == tensor)) {
      tensor.close();
    }
  }

  /** Fails if the files hold tensors that nothing has taken or ignores, and names them. */
  public synchronized void requireAllTaken() {
    requireOpen();
    List<String> left = new ArrayList<>();
    sources.forEach(
        (name, source) -> {
          if (!taken.contains(source) && !ignored.test(name)) {
            left.add(source.info().name());
          }
        });
    if (!left.isEmpty()) {
      throw ModelFormatException.in(
          origin,
          InputFile.join(left),
          "not part of this model; the configuration beside them is not theirs");
    }
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("the weights of " + folder + " are closed");
    }
  }

  private static ModelFormatException error(Source source, String reason) {
    return ModelFormatException.in(source.header().file(), source.info().name(), reason);
  }

  /**
   * Frees the tensors and the mappings. Idempotent; no tensor taken may be used afterwards, so stop
   * whatever computes with them first.
   */
  @Override
  public synchronized void close() {
    closed = true;
    owned.forEach(Tensor::close);
    owned.clear();
    files.forEach(SafetensorsFile::close);
    files.clear();
  }
}
