package org.glance4j.lora;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.AtomicFile;
import org.glance4j.weights.SafetensorsWriter;

/**
 * Writes LoRA adapters the way diffusers and PEFT do: {@code transformer.NAME.lora_A.weight} and
 * {@code lora_B}, with rank and alpha in the header's {@code lora_adapter_metadata}. {@link
 * LoraFile} and diffusers' {@code load_lora_weights} both read the scale from there.
 */
public final class LoraWriter {
  private static final String PREFIX = "transformer.";
  private static final JsonMapper JSON = new JsonMapper();

  private LoraWriter() {}

  /**
   * Writes {@code adapter}, whole or not at all. The same adapter gives the same bytes.
   *
   * @param rank of every pair
   * @param alpha the scale times the rank
   * @param notes more entries for the header; readers ignore what they do not know
   * @throws IllegalArgumentException if a pair has another rank or scale
   */
  public static void write(
      Path file, LoraAdapter adapter, int rank, double alpha, Map<String, String> notes)
      throws IOException {
    Map<String, LoraPair> pairs = new TreeMap<>(adapter.pairs());
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    pairs.forEach(
        (name, pair) -> {
          if (pair.rank() != rank || pair.scale() != alpha / rank) {
            throw new IllegalArgumentException(
                "%s has rank %d and scale %s, but the file is for rank %d and scale %s"
                    .formatted(name, pair.rank(), pair.scale(), rank, alpha / rank));
          }
          tensors.put(PREFIX + name + ".lora_A.weight", pair.down());
          tensors.put(PREFIX + name + ".lora_B.weight", pair.up());
        });
    Map<String, String> metadata = new LinkedHashMap<>();
    metadata.put("format", "pt");
    metadata.put("lora_adapter_metadata", peftConfig(pairs, rank, alpha));
    metadata.putAll(notes);
    AtomicFile.write(file, out -> SafetensorsWriter.write(out, tensors, metadata));
  }

  /** The fields of PEFT's LoraConfig that are not its defaults. */
  private static String peftConfig(Map<String, LoraPair> pairs, int rank, double alpha)
      throws JsonProcessingException {
    ObjectNode config = JSON.createObjectNode();
    config.put(PREFIX + "peft_type", "LORA");
    config.put(PREFIX + "r", rank);
    if (alpha == Math.rint(alpha)) {
      config.put(PREFIX + "lora_alpha", (long) alpha);
    } else {
      config.put(PREFIX + "lora_alpha", alpha);
    }
    pairs.keySet().forEach(config.putArray(PREFIX + "target_modules")::add);
    return JSON.writeValueAsString(config);
  }
}
