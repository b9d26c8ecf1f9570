package org.glance4j.weights;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.glance4j.ModelFormatException;

/**
 * One component's weight files, found and checked by their headers alone. Does not load LibTorch.
 *
 * @param origin the single file, or the index of the shards: what messages name
 * @param headers one per file
 */
record WeightFiles(Path origin, List<SafetensorsHeader> headers) {
  /**
   * First match wins. Where a folder has both forms, each family of names is decided as the library
   * that writes it does: diffusers prefers the index, transformers the single file.
   */
  private static final List<String> NAMES =
      List.of(
          "diffusion_pytorch_model.safetensors.index.json",
          "diffusion_pytorch_model.safetensors",
          "model.safetensors",
          "model.safetensors.index.json");

  private static final List<String> OTHER_FORMATS =
      List.of(".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5", ".onnx", ".gguf");

  WeightFiles {
    headers = List.copyOf(headers);
  }

  /** The weight files of the component in {@code folder}. */
  static WeightFiles in(Path folder) {
    if (!Files.isDirectory(folder)) {
      throw new ModelFormatException(
          folder + ": no such folder; a model needs it, so copy the model whole");
    }
    for (String name : NAMES) {
      Path file = folder.resolve(name);
      // A link to nothing counts as there, so that it is reported, not passed over.
      if (Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
        return name.endsWith(".json") ? ShardIndex.read(file).open() : of(file);
      }
    }
    throw nothingIn(folder);
  }

  /** A single file, whatever its name. */
  static WeightFiles of(Path file) {
    return new WeightFiles(file, List.of(SafetensorsHeader.read(file)));
  }

  /** True if {@code folder} has anything that looks like weights, readable or not. */
  static boolean any(Path folder) {
    List<String> names = list(folder);
    return names.stream().anyMatch(NAMES::contains) || !weightsAmong(names).isEmpty();
  }

  private static ModelFormatException nothingIn(Path folder) {
    List<String> names = list(folder);
    List<String> safetensors = names.stream().filter(n -> n.endsWith(".safetensors")).toList();
    if (!safetensors.isEmpty()) {
      return ModelFormatException.in(
          folder,
          InputFile.join(safetensors),
          "found, but none of "
              + NAMES
              + " is there; variants and shards without an index are not"
              + " chosen by guess: rename the one you mean, or download the missing file");
    }
    List<String> others = weightsAmong(names);
    if (!others.isEmpty()) {
      return ModelFormatException.in(
          folder,
          InputFile.join(others),
          "only safetensors weights are read, other formats may run code or lose precision;"
              + " download the model's safetensors files or convert these");
    }
    return ModelFormatException.in(
        folder, "weights", "none there; expected one of " + NAMES + ", copy the model whole");
  }

  private static List<String> weightsAmong(List<String> names) {
    return names.stream()
        .filter(n -> n.endsWith(".safetensors") || OTHER_FORMATS.stream().anyMatch(n::endsWith))
        .toList();
  }

  private static List<String> list(Path folder) {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.map(entry -> entry.getFileName().toString()).sorted().toList();
    } catch (IOException e) {
      throw InputFile.unreadable(folder, e);
    }
  }
}
