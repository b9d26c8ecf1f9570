package org.glance4j;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import org.glance4j.kernel.Backend;
import org.glance4j.schedule.ScheduleSpec;
import org.jspecify.annotations.Nullable;

/**
 * Everything needed to make one image again. A PNG written by {@link GeneratedImage} carries it as
 * JSON in the text chunk {@value #KEYWORD}. Immutable.
 *
 * @param model the model folder as the caller named it, or null for the bundled model
 * @param options how the model was loaded; {@code threads} and {@code keepResident}, which change
 *     no picture, are not kept. A preset's adapters are kept by its name only, so that the model
 *     may be found elsewhere
 * @param request the request for this one image, with nothing left to the model's defaults; its
 *     listener is not kept
 * @param customLatents true if the image started from the caller's own latents, which the recipe
 *     does not hold
 */
public record Recipe(
    @Nullable Path model, GlanceOptions options, ImageRequest request, boolean customLatents) {
  /** The PNG text chunk that holds a recipe. */
  public static final String KEYWORD = "glance4j";

  private static final JsonMapper JSON = new JsonMapper();

  /** Reads the recipe in a PNG file's text chunks. */
  public static Recipe read(Path png) throws IOException {
    String text = PngFile.readText(png, KEYWORD);
    if (text == null) {
      throw ModelFormatException.in(
          png, "text chunk " + KEYWORD, "is missing; only pictures made by glance4j carry it");
    }
    try {
      return fromJson(text);
    } catch (JsonProcessingException | IllegalArgumentException e) {
      throw new ModelFormatException(
          png + ": text chunk " + KEYWORD + ": cannot be used: " + e.getMessage(), e);
    }
  }

  /** The JSON form. */
  public String toJson() {
    ObjectNode json = JSON.createObjectNode();
    json.put("prompt", request.prompt());
    json.put("negative", request.negativePrompt());
    json.put("cfg", request.cfg());
    json.put("guidance", request.guidance());
    json.put("width", request.width());
    json.put("height", request.height());
    json.put("seed", request.seed());
    json.put("schedule", request.schedule() == null ? null : request.schedule().toString());
    json.put("max_text_tokens", request.maxTextTokens());
    json.put("custom_latents", customLatents);
    json.put("model", text(model));
    json.put("slow_lora", text(options.slowLora()));
    json.put("fast_lora", text(options.fastLora()));
    json.put("lora_scale", options.loraScale());
    json.put("preset", options.preset());
    json.put("dtype", options.dtype().toString());
    json.put("backend", options.backend().toString());
    return json.toString();
  }

  static Recipe fromJson(String text) throws JsonProcessingException {
    JsonNode json = JSON.readTree(text);
    String schedule = string(json, "schedule");
    ImageRequest request =
        ImageRequest.builder(json.path("prompt").asText())
            .negativePrompt(string(json, "negative"))
            .cfg(json.path("cfg").asDouble(1))
            .guidance(json.path("guidance").asDouble(0))
            .width(integer(json, "width"))
            .height(integer(json, "height"))
            .seed(json.path("seed").asLong())
            .schedule(schedule == null ? null : ScheduleSpec.parseInline(schedule))
            .maxTextTokens(integer(json, "max_text_tokens"))
            .build();
    GlanceOptions options =
        GlanceOptions.builder()
            .dtype(DType.parse(json.path("dtype").asText("f32")))
            .backend(Backend.parse(json.path("backend").asText("auto")))
            .slowLora(path(json, "slow_lora"))
            .fastLora(path(json, "fast_lora"))
            .loraScale(json.path("lora_scale").asDouble(1))
            // Older pictures were made without presets.
            .preset(json.has("preset") ? string(json, "preset") : Preset.NONE)
            .build();
    return new Recipe(
        path(json, "model"), options, request, json.path("custom_latents").asBoolean());
  }

  private static @Nullable String text(@Nullable Path path) {
    return path == null ? null : path.toString();
  }

  private static @Nullable String string(JsonNode json, String key) {
    return json.hasNonNull(key) ? json.get(key).asText() : null;
  }

  private static @Nullable Integer integer(JsonNode json, String key) {
    return json.hasNonNull(key) ? json.get(key).asInt() : null;
  }

  private static @Nullable Path path(JsonNode json, String key) {
    return json.hasNonNull(key) ? Path.of(json.get(key).asText()) : null;
  }
}
