package org.glance4j.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraPair;
import org.glance4j.reference.Reference;
import org.glance4j.weights.SafetensorsFile;

/** The reference adapters whose files say their alpha. */
public final class TestAdapters {
  private static final String PREFIX = "transformer.";
  private static final String DOWN = ".lora_A.weight";
  private static final String UP = ".lora_B.weight";

  private TestAdapters() {}

  /**
   * An adapter of the reference.
   *
   * @param model {@code flux} or {@code qwen}
   * @param name {@code slow} or {@code fast}
   */
  public static LoraAdapter load(String model, String name) {
    try (PointerScope scope = new PointerScope();
        SafetensorsFile file =
            SafetensorsFile.open(
                Reference.path("adapters/" + model + "/" + name + ".metadata.safetensors"))) {
      JsonNode metadata =
          new ObjectMapper().readTree(file.header().metadata().get("lora_adapter_metadata"));
      double scale =
          metadata.get(PREFIX + "lora_alpha").doubleValue()
              / metadata.get(PREFIX + "r").doubleValue();
      Map<String, LoraPair> pairs = new LinkedHashMap<>();
      for (String key : file.tensors().keySet()) {
        if (key.endsWith(DOWN)) {
          String linear = key.substring(PREFIX.length(), key.length() - DOWN.length());
          Tensor down = file.tensor(key).clone().retainReference();
          Tensor up = file.tensor(PREFIX + linear + UP).clone().retainReference();
          pairs.put(linear, new LoraPair(down, up, scale));
        }
      }
      return new LoraAdapter(name, pairs);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
