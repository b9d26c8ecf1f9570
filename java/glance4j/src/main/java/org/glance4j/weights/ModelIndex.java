package org.glance4j.weights;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.glance4j.ModelFormatException;

/**
 * A model folder by its {@code model_index.json}: which pipeline it is and that every component is
 * there and of a class this library has. Reads no weights and does not load LibTorch. Immutable.
 *
 * @param folder the model folder
 * @param pipeline what it is
 * @param components the class of each component the pipeline needs
 */
public record ModelIndex(Path folder, Pipeline pipeline, Map<String, ComponentClass> components) {
  static final String FILE_NAME = "model_index.json";

  /** Copies the map. */
  public ModelIndex {
    components = Map.copyOf(components);
  }

  /**
   * Reads {@code folder/model_index.json} and checks it against the supported pipelines and against
   * the components' own configurations.
   *
   * @throws ModelFormatException naming file, component, what was found and what was expected
   */
  public static ModelIndex read(Path folder) {
    if (!Files.isDirectory(folder)) {
      throw new ModelFormatException(
          folder + ": no such folder; a model is a folder with a " + FILE_NAME);
    }
    ConfigFile file = ConfigFile.read(folder.resolve(FILE_NAME));
    String className = file.string("_class_name");
    Pipeline pipeline =
        Pipeline.of(className)
            .orElseThrow(
                () ->
                    file.error(
                        "_class_name",
                        "\""
                            + InputFile.shorten(className)
                            + "\" is not supported; expected "
                            + Pipeline.classNames()));
    requireNothingElse(file, pipeline);
    Map<String, ComponentClass> components = new TreeMap<>();
    pipeline
        .components()
        .forEach((name, allowed) -> components.put(name, component(file, name, allowed)));
    ModelIndex index = new ModelIndex(folder, pipeline, components);
    components.forEach(index::requireConfigured);
    return index;
  }

  /** The folder of the component {@code name}. */
  public Path componentFolder(String name) {
    return folder.resolve(name);
  }

  /**
   * The configuration of the component {@code name}: {@code config.json}, or {@code
   * scheduler_config.json} or {@code tokenizer_config.json} for those.
   */
  public ConfigFile config(String name) {
    ComponentClass type = components.get(name);
    if (type == null) {
      throw new IllegalArgumentException(
          pipeline.className() + " has no component " + name + ", only " + components.keySet());
    }
    ConfigFile config = ConfigFile.read(componentFolder(name).resolve(configName(name)));
    if (type.library().equals("diffusers")) {
      config.requireClass(type.name());
    }
    return config;
  }

  private void requireConfigured(String name, ComponentClass type) {
    if (!Files.isDirectory(componentFolder(name))) {
      throw new ModelFormatException(
          componentFolder(name)
              + ": no such folder, but "
              + FILE_NAME
              + " names it as "
              + type
              + "; copy the model whole");
    }
    // A tokenizer can do without its configuration; its own loader decides.
    if (!name.startsWith("tokenizer")) {
      config(name);
    }
  }

  private static String configName(String component) {
    if (component.equals("scheduler")) {
      return "scheduler_config.json";
    }
    return component.startsWith("tokenizer") ? "tokenizer_config.json" : "config.json";
  }

  private static void requireNothingElse(ConfigFile file, Pipeline pipeline) {
    for (String key : file.keys()) {
      boolean component = file.isList(key) && !file.isListOfNulls(key);
      if (component
          && !pipeline.components().containsKey(key)
          && !pipeline.unused().contains(key)) {
        throw file.error(
            InputFile.shorten(key),
            "is not a component of "
                + pipeline.className()
                + "; expected only "
                + pipeline.components().keySet().stream().sorted().toList());
      }
    }
  }

  private static ComponentClass component(
      ConfigFile file, String name, List<ComponentClass> allowed) {
    String expected = allowed.stream().map(Object::toString).collect(Collectors.joining(" or "));
    if (!file.has(name) || file.isListOfNulls(name)) {
      throw file.error(name, "is missing; " + file.string("_class_name") + " needs " + expected);
    }
    List<String> pair = file.strings(name);
    if (pair.size() != 2) {
      throw file.error(name, "found " + pair + ", expected " + expected);
    }
    ComponentClass found = new ComponentClass(pair.get(0), pair.get(1));
    if (!allowed.contains(found)) {
      throw file.error(name, "found " + found + ", expected " + expected);
    }
    return found;
  }
}
