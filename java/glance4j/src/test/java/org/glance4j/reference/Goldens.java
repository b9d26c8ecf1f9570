package org.glance4j.reference;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.Set;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.weights.SafetensorsFile;

/** One file of expected values and what the manifest says of it. */
public final class Goldens implements AutoCloseable {
  private final SafetensorsFile file;
  private final JsonNode entry;

  Goldens(Path path, JsonNode entry) {
    this.file = SafetensorsFile.open(path);
    this.entry = entry;
  }

  /** A file of expected values that no manifest entry describes. */
  public static Goldens open(Path path) {
    return new Goldens(path, com.fasterxml.jackson.databind.node.MissingNode.getInstance());
  }

  /** The manifest's entry for this file: prompts, sizes, configuration. */
  public JsonNode entry() {
    return entry;
  }

  /** The names of all tensors, in file order. */
  public Set<String> names() {
    return file.tensors().keySet();
  }

  /** True if there is a tensor {@code name}. */
  public boolean has(String name) {
    return file.tensors().containsKey(name);
  }

  /** The expected tensor {@code name}. */
  public Tensor get(String name) {
    return file.tensor(name);
  }

  @Override
  public void close() {
    file.close();
  }
}
