package org.glance4j.model.vae;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.glance4j.ModelFormatException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class QwenVaeConfigTest {
  @TempDir Path temp;

  /** Those of Qwen-Image, whose file leaves most keys out in some versions. */
  @Test
  void missingKeysHaveDefaults() throws IOException {
    QwenVaeConfig config = read("");
    assertEquals(3, config.imageChannels());
    assertEquals(16, config.latentChannels());
    assertEquals(List.of(96, 192, 384, 384), config.blockChannels());
    assertEquals(2, config.layersPerBlock());
    assertEquals(List.of(false, true, true), config.temporalDownsample());
    assertEquals(8, config.scale());
    assertEquals(-0.7571, config.latentScale().shift().get(0));
    assertEquals(1 / 1.9160, config.latentScale().scaling().get(15));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "\"attn_scales\": [0.5] | attn_scales: [0.5] is not supported; only [] is",
        "\"dim_mult\": [] | dim_mult: [] is not supported; expected one number for each resolution",
        "\"dim_mult\": [1, 90000] | with base_dim 96",
        "\"dim_mult\": [1, 2] | temperal_downsample: [false, true, true] has 3 values; expected 1",
        "\"temperal_downsample\": [true] | temperal_downsample: [true] has 1 values; expected 3",
        "\"temperal_downsample\": [0] | temperal_downsample: [0] is not a list of true and false",
        "\"z_dim\": 8 | has 16 values; expected 8, z_dim",
        "\"z_dim\": 1, \"latents_mean\": [0] | latents_std: [2.8184,",
        "\"z_dim\": 1, \"latents_mean\": [0], \"latents_std\": [0] | latents_std: [0.0] is not",
        "\"latents_mean\": [\"a\"] | latents_mean: [\"a\"] is not a list of finite numbers",
        "\"base_dim\": 0 | base_dim: 0 is not an integer of at least 1",
      })
  void refuses(String json, String message) {
    ModelFormatException e = assertThrows(ModelFormatException.class, () -> read(json));
    assertTrue(String.valueOf(e.getMessage()).contains(message), e.getMessage());
  }

  private QwenVaeConfig read(String json) throws IOException {
    Path file = temp.resolve("config.json");
    String separator = json.isEmpty() ? "" : ", ";
    Files.writeString(
        file, "{\"_class_name\": \"AutoencoderKLQwenImage\"" + separator + json + "}");
    return QwenVaeConfig.read(file);
  }
}
