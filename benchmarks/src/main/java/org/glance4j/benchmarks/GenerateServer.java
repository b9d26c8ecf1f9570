package org.glance4j.benchmarks;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.glance4j.DType;
import org.glance4j.Generation;
import org.glance4j.Glance;
import org.glance4j.GlanceOptions;
import org.glance4j.HostMemory;
import org.glance4j.ImageRequest;
import org.glance4j.kernel.Backend;
import org.glance4j.schedule.ScheduleSpec;

/**
 * Generates on request, so that a driver can alternate it with another implementation's process:
 * reads a JSON object a line ({@code prompt}, {@code steps}, {@code cfg}, {@code seed}, optionally
 * {@code png}), answers with one ({@code seconds}, {@code resident_bytes}).
 *
 * <p>Arguments: MODEL_DIR DTYPE THREADS BACKEND.
 */
public final class GenerateServer {
  private static final JsonMapper JSON = new JsonMapper();

  private GenerateServer() {}

  /** Serves until stdin ends. */
  public static void main(String[] arguments) throws IOException {
    GlanceOptions options =
        GlanceOptions.builder()
            .dtype(DType.parse(arguments[1]))
            .threads(Integer.parseInt(arguments[2]))
            .backend(Backend.parse(arguments[3]))
            .build();
    BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    try (Glance glance = Glance.load(Path.of(arguments[0]), options)) {
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        System.out.println(answer(glance, JSON.readTree(line)));
      }
    }
  }

  private static String answer(Glance glance, JsonNode ask) throws IOException {
    ImageRequest request =
        ImageRequest.builder(ask.get("prompt").asText())
            .cfg(ask.get("cfg").asDouble())
            .seed(ask.get("seed").asLong())
            .schedule(ScheduleSpec.base(ask.get("steps").asInt()))
            .build();
    long start = System.nanoTime();
    Generation generation = glance.generate(request);
    double seconds = (System.nanoTime() - start) / 1e9;
    if (ask.hasNonNull("png")) {
      generation.image().writePng(Path.of(ask.get("png").asText()));
    }
    return JSON.createObjectNode()
        .put("seconds", seconds)
        .put("resident_bytes", HostMemory.residentBytes().orElse(0))
        .toString();
  }
}
