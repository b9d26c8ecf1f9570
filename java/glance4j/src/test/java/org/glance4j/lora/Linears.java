package org.glance4j.lora;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.glance4j.reference.Reference;
import org.glance4j.weights.SafetensorsHeader;
import org.glance4j.weights.TensorInfo;

/** The linears of the reference folder's transformers, as their weights show them. */
final class Linears {
  private static final String WEIGHT = ".weight";

  private Linears() {}

  static boolean has(String model) {
    return Files.isDirectory(folder(model));
  }

  /** The linears of {@code flux} or {@code qwen}: every weight of two dimensions. */
  static Map<String, LinearShape> of(String model) {
    Map<String, LinearShape> linears = new TreeMap<>();
    try (Stream<Path> entries = Files.list(folder(model))) {
      for (Path file : entries.filter(p -> p.toString().endsWith(".safetensors")).toList()) {
        SafetensorsHeader.read(file).tensors().values().forEach(info -> add(info, linears));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return linears;
  }

  private static void add(TensorInfo info, Map<String, LinearShape> linears) {
    List<Long> shape = info.shape();
    if (info.name().endsWith(WEIGHT) && shape.size() == 2) {
      String name = info.name().substring(0, info.name().length() - WEIGHT.length());
      linears.put(name, new LinearShape(shape.get(1), shape.get(0)));
    }
  }

  private static Path folder(String model) {
    String pipeline = model.equals("flux") ? "flux-tiny-random" : "qwen-image-tiny-random";
    return Reference.path(pipeline + "/transformer");
  }
}
