package org.glance4j.schedule;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.reference.Reference;
import org.glance4j.weights.ConfigFile;

/** The schedulers the reference folder's numbers were made with. */
final class Schedulers {
  private Schedulers() {}

  /** What the manifest says of a model's scheduler, even where the numbers' file is left out. */
  static JsonNode entry(String model) {
    return Reference.manifest().path("files").path("goldens/" + model + "_scheduler.safetensors");
  }

  /** The models whose schedulers the manifest describes. */
  static Stream<String> models() {
    return Stream.of("flux", "qwen").filter(model -> entry(model).has("config"));
  }

  /** The scheduler of {@code flux} or {@code qwen}. */
  static SigmaShift of(String model) {
    return ofJson(entry(model).path("config").toString());
  }

  /** The side of a token's patch: 16 pixels where the reference has no VAE that says otherwise. */
  static int pixelsPerToken(String model) {
    Path vae = Reference.path(model + "-tiny-random/vae/config.json");
    return Files.exists(vae) ? pixelsPerToken(vae) : 16;
  }

  /** Two latent pixels, each of which the VAE makes of 2 image pixels a resolution step. */
  static int pixelsPerToken(Path vaeConfig) {
    return 1 << ConfigFile.read(vaeConfig).positiveInts("block_out_channels").size();
  }

  static SigmaShift ofJson(String json) {
    try {
      Path file = Files.createTempFile("scheduler_config", ".json");
      try {
        Files.writeString(file, json);
        return SigmaShift.read(ConfigFile.read(file));
      } finally {
        Files.delete(file);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static float[] floats(Tensor tensor) {
    float[] values = new float[(int) tensor.numel()];
    tensor.contiguous().data_ptr_float().get(values);
    return values;
  }

  interface FloatOfStep {
    float of(Step step);
  }

  static float[] floats(Schedule schedule, FloatOfStep value) {
    float[] values = new float[schedule.size()];
    for (int i = 0; i < values.length; i++) {
      values[i] = value.of(schedule.steps().get(i));
    }
    return values;
  }
}
