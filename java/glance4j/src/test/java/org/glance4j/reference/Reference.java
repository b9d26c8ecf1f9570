package org.glance4j.reference;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A folder of reference data: {@code -Dglance.reference=DIR}, by default the one in this module, as
 * the build has unpacked it. Tests walk its manifest and skip what it does not have.
 */
public final class Reference {
  private static final Path ROOT =
      Path.of(System.getProperty("glance.reference", "target/reference")).toAbsolutePath();
  private static final JsonNode MANIFEST = readJson("manifest.json");

  private Reference() {}

  /** The folder, absolute. */
  public static Path root() {
    return ROOT;
  }

  /** A file or folder in the reference folder. */
  public static Path path(String relative) {
    return ROOT.resolve(relative);
  }

  /** The whole manifest. */
  public static JsonNode manifest() {
    return MANIFEST;
  }

  /** A JSON file of the reference folder. */
  public static JsonNode readJson(String relative) {
    try {
      return new ObjectMapper().readTree(Files.readAllBytes(path(relative)));
    } catch (IOException e) {
      throw new UncheckedIOException("reference folder " + ROOT, e);
    }
  }

  /** True if the manifest lists {@code goldens/NAME.safetensors} and the file is there. */
  public static boolean hasGoldens(String name) {
    String key = "goldens/" + name + ".safetensors";
    return MANIFEST.path("files").has(key) && Files.exists(path(key));
  }

  /** The expected values in {@code goldens/NAME.safetensors}, with their manifest entry. */
  public static Goldens goldens(String name) {
    String key = "goldens/" + name + ".safetensors";
    return new Goldens(path(key), MANIFEST.path("files").path(key));
  }

  /** The strings of a JSON array. */
  public static List<String> strings(JsonNode array) {
    List<String> values = new ArrayList<>();
    array.forEach(item -> values.add(item.asText()));
    return values;
  }
}
