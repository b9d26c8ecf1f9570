package org.glance4j.weights;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;

/**
 * What weights a model, a component or a file holds, from headers alone: no tensor is read and
 * LibTorch is not loaded. Immutable.
 *
 * @param path the folder or file that was asked for
 * @param components one for a file or a single component's folder, else one per sub-folder with
 *     weights, by name
 */
public record ModelInventory(Path path, List<Component> components) {
  private static final String CONFIG = "config.json";

  /** Copies the list. */
  public ModelInventory {
    components = List.copyOf(components);
  }

  /**
   * The weights of one component.
   *
   * @param name the folder's or file's name, for example {@code transformer}
   * @param files the headers of its files, with their tensors and metadata
   */
  public record Component(String name, List<SafetensorsHeader> files) {
    /** Copies the list. */
    public Component {
      files = List.copyOf(files);
    }

    /** All tensors, file by file. */
    public List<TensorInfo> tensors() {
      return files.stream()
          .map(SafetensorsHeader::tensors)
          .map(Map::values)
          .flatMap(Collection::stream)
          .toList();
    }

    /** How many values all tensors have together. */
    public long parameters() {
      return tensors().stream().mapToLong(TensorInfo::elements).sum();
    }

    /** Bytes of all tensors in their files. */
    public long bytes() {
      return tensors().stream().mapToLong(TensorInfo::bytes).sum();
    }

    /** Bytes of all tensors by the format's name of their type, for example {@code BF16}. */
    public Map<String, Long> bytesByDtype() {
      return tensors().stream()
          .collect(
              Collectors.groupingBy(
                  TensorInfo::dtypeName, TreeMap::new, Collectors.summingLong(TensorInfo::bytes)));
    }

    /** Bytes of all tensors in a model of type {@code model}, activations not counted. */
    public long bytesAs(ScalarType model) {
      return tensors().stream().mapToLong(tensor -> tensor.bytesAs(model)).sum();
    }
  }

  /**
   * Lists {@code path}: a safetensors file, a component's folder, or a model folder, whose
   * sub-folders are the components.
   *
   * @throws ModelFormatException if there are no weights, or they are broken or incomplete
   */
  public static ModelInventory of(Path path) {
    if (!Files.isDirectory(path)) {
      return new ModelInventory(path, List.of(component(path, WeightFiles.of(path))));
    }
    List<Component> components = new ArrayList<>();
    boolean model = Files.exists(path.resolve(ModelIndex.FILE_NAME));
    if (model || !WeightFiles.any(path)) {
      for (Path folder : subfolders(path)) {
        // A model may keep adapters beside its components, which all have a configuration.
        if (WeightFiles.any(folder) && (!model || Files.exists(folder.resolve(CONFIG)))) {
          components.add(component(folder, WeightFiles.in(folder)));
        }
      }
    }
    if (components.isEmpty()) {
      components.add(component(path, WeightFiles.in(path)));
    }
    return new ModelInventory(path, components);
  }

  /** How many values all components have together. */
  public long parameters() {
    return components.stream().mapToLong(Component::parameters).sum();
  }

  /** Bytes of all tensors in their files. */
  public long bytes() {
    return components.stream().mapToLong(Component::bytes).sum();
  }

  /** Bytes of all tensors in a model of type {@code model}, activations not counted. */
  public long bytesAs(ScalarType model) {
    return components.stream().mapToLong(component -> component.bytesAs(model)).sum();
  }

  private static Component component(Path path, WeightFiles files) {
    Path name = path.toAbsolutePath().normalize().getFileName();
    return new Component(name == null ? path.toString() : name.toString(), files.headers());
  }

  private static List<Path> subfolders(Path folder) {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.filter(Files::isDirectory).sorted().toList();
    } catch (IOException e) {
      throw InputFile.unreadable(folder, e);
    }
  }
}
