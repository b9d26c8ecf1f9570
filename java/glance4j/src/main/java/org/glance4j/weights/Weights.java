package org.glance4j.weights;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;

/**
 * The weights of one model component: a folder's single safetensors file, or its shards and their
 * index. Owns every tensor it hands out: they live until {@link #close()}.
 *
 * <p>Filled by one thread while a model is built; after that only read.
 */
public final class Weights implements AutoCloseable {
  private final Path folder;
  private final ScalarType dtype;
  private final List<SafetensorsFile> files;
  private final Set<String> untaken = new LinkedHashSet<>();
  private final List<Tensor> owned = new ArrayList<>();

  private Weights(Path folder, ScalarType dtype, List<SafetensorsFile> files) {
    this.folder = folder;
    this.dtype = dtype;
    this.files = files;
    files.forEach(file -> untaken.addAll(file.tensors().keySet()));
  }

  /**
   * Opens the weights in {@code folder}.
   *
   * @param dtype what floating-point tensors are converted to; where the file has it already, there
   *     is no copy
   */
  public static Weights open(Path folder, ScalarType dtype) {
    return new Weights(folder, dtype, WeightFiles.open(folder));
  }

  /** The folder these weights came from. */
  public Path folder() {
    return folder;
  }

  /** True if there is a tensor {@code name}. */
  public boolean contains(String name) {
    return files.stream().anyMatch(file -> file.tensors().containsKey(name));
  }

  /** The tensor {@code name}, which must have {@code shape}; marks it as taken. */
  public Tensor take(String name, long... shape) {
    SafetensorsFile file =
        files.stream()
            .filter(f -> f.tensors().containsKey(name))
            .findFirst()
            .orElseThrow(() -> ModelFormatException.in(folder, name, "is missing"));
    List<Long> actual = file.info(name).shape();
    List<Long> expected = Arrays.stream(shape).boxed().toList();
    if (!actual.equals(expected)) {
      throw ModelFormatException.in(
          file.header().file(),
          name,
          "has shape " + actual + ", but the configuration asks for " + expected);
    }
    try (PointerScope scope = new PointerScope()) {
      Tensor tensor = keep(file.tensor(name).to(dtype));
      untaken.remove(name);
      return tensor;
    }
  }

  /** Makes {@code tensor} live until {@link #close()}, as the tensors taken do. */
  public Tensor keep(Tensor tensor) {
    tensor.retainReference();
    owned.add(tensor);
    return tensor;
  }

  /** Fails if the files hold tensors that nothing has taken, and names them. */
  public void requireAllTaken() {
    if (!untaken.isEmpty()) {
      throw new ModelFormatException(
          folder + ": " + untaken.size() + " tensors do not belong to this model: " + untaken);
    }
  }

  /** Frees the tensors and the mappings. Idempotent; no tensor taken may be used afterwards. */
  @Override
  public void close() {
    owned.forEach(Tensor::close);
    owned.clear();
    files.forEach(SafetensorsFile::close);
  }
}
