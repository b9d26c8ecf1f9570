package org.glance4j.model.text;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.MissingNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.glance4j.ModelFormatException;
import org.glance4j.weights.ConfigFile;

/** The files of a {@code tokenizer*} folder; JSON files are read once. For one thread. */
final class TokenizerFolder {
  private final Path folder;
  private final Map<String, JsonNode> json = new HashMap<>();

  private TokenizerFolder(Path folder) {
    this.folder = folder;
  }

  static TokenizerFolder open(Path folder) {
    if (!Files.isDirectory(folder)) {
      throw new ModelFormatException(
          folder + ": no such folder; a model folder needs it, so copy the folder whole");
    }
    return new TokenizerFolder(folder);
  }

  Path file(String name) {
    return folder.resolve(name);
  }

  boolean has(String name) {
    return Files.isRegularFile(file(name));
  }

  /** The JSON object in the file {@code name}, or a missing node where there is no such file. */
  JsonNode json(String name) {
    return json.computeIfAbsent(
        name, n -> has(n) ? ConfigFile.read(file(n)).json() : MissingNode.getInstance());
  }

  /** An error about {@code item} of the file {@code name}. */
  ModelFormatException error(String name, String item, String reason) {
    return ModelFormatException.in(file(name), item, reason);
  }

  /** What to say of a folder that has none of the files a vocabulary can come from. */
  ModelFormatException noVocabulary(String needed) {
    return new ModelFormatException(folder + ": holds no tokenizer; it needs " + needed);
  }
}
