package org.glance4j.weights;

import static org.glance4j.weights.Refusal.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class ModelIndexTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir Path folder;
  private ObjectNode index = JSON.createObjectNode();

  @BeforeEach
  void writeFluxFolder() throws IOException {
    writeFolder(Pipeline.FLUX);
  }

  private void writeFolder(Pipeline pipeline) throws IOException {
    index = JSON.createObjectNode().put("_class_name", pipeline.className());
    for (String name : pipeline.components().keySet()) {
      ComponentClass type = pipeline.components().get(name).get(0);
      setComponent(name, type.library(), type.name());
      Files.createDirectories(folder.resolve(name));
      String config = name.equals("scheduler") ? "scheduler_config.json" : "config.json";
      Files.writeString(
          folder.resolve(name).resolve(config), "{\"_class_name\": \"" + type.name() + "\"}");
    }
  }

  private void setComponent(String name, String library, String type) {
    index.putArray(name).add(library).add(type);
  }

  private ModelIndex read() throws IOException {
    JSON.writeValue(folder.resolve("model_index.json").toFile(), index);
    return ModelIndex.read(folder);
  }

  private void assertIndexRefused(String... parts) {
    assertRefused(folder.resolve("model_index.json"), this::read, parts);
  }

  @ParameterizedTest
  @EnumSource
  void readsEverySupportedPipeline(Pipeline pipeline) throws IOException {
    writeFolder(pipeline);
    ModelIndex read = read();
    assertEquals(pipeline, read.pipeline());
    assertEquals(pipeline.components().keySet(), read.components().keySet());
    assertEquals(folder.resolve("vae"), read.componentFolder("vae"));
    assertEquals(folder.resolve("vae/config.json"), read.config("vae").file());
    assertThrows(IllegalArgumentException.class, () -> read.config("unet"));
  }

  @Test
  void passesOverWhatMakesNoPicture() throws IOException {
    index.put("_diffusers_version", "0.40.0").put("is_distilled", true);
    index.putArray("image_encoder").addNull().addNull();
    index.putArray("safety_checker").addNull().addNull();
    setComponent("feature_extractor", "transformers", "CLIPImageProcessor");
    assertEquals(Pipeline.FLUX, read().pipeline());
  }

  @ParameterizedTest
  @CsvSource({
    "transformer, diffusers, NoSuchTransformer, FluxTransformer2DModel",
    "transformer, transformers, FluxTransformer2DModel, diffusers",
    "text_encoder, transformers, T5EncoderModel, CLIPTextModel",
    "tokenizer_2, transformers, CLIPTokenizer, T5TokenizerFast",
    "scheduler, diffusers, DDIMScheduler, FlowMatchEulerDiscreteScheduler",
    "controlnet, diffusers, FluxControlNetModel, transformer",
  })
  void refusesOtherClasses(String name, String library, String type, String expected) {
    setComponent(name, library, type);
    assertIndexRefused(": " + name + ": ", expected);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"null", "[]", "[null, null]", "[null, 1]", "[\"diffusers\"]", "\"x\"", "{}"})
  void refusesWhatIsNotAPair(String json) throws IOException {
    index.set("vae", JSON.readTree(json));
    assertIndexRefused(": vae: ");
  }

  @Test
  void refusesAMissingComponentInIndexOrFolder() throws IOException {
    index.remove("vae");
    assertIndexRefused(": vae: is missing", "AutoencoderKL");
    setComponent("vae", "diffusers", "AutoencoderKL");
    Files.delete(folder.resolve("vae/config.json"));
    assertRefused(folder.resolve("vae/config.json"), this::read, "no such file");
    Files.delete(folder.resolve("vae"));
    assertRefused(folder.resolve("vae"), this::read, "no such folder", "AutoencoderKL");
  }

  @ParameterizedTest
  @CsvSource({"scheduler, scheduler_config.json", "transformer, config.json", "vae, config.json"})
  void refusesAConfigurationOfAnotherClass(String name, String config) throws IOException {
    Path file = folder.resolve(name).resolve(config);
    Files.writeString(file, "{\"_class_name\": \"NoSuchThing\"}");
    assertRefused(file, this::read, ": _class_name: ", "NoSuchThing");
    Files.writeString(file, "{}");
    assertRefused(file, this::read, ": _class_name: is missing");
  }

  @Test
  void refusesOtherPipelinesAndFolders() {
    index.put("_class_name", "NoSuchPipeline");
    assertIndexRefused(": _class_name: ", "NoSuchPipeline", "FluxPipeline");
    index.remove("_class_name");
    assertIndexRefused(": _class_name: is missing");
    Path none = folder.resolve("none");
    assertRefused(none, () -> ModelIndex.read(none), "no such folder");
    Path vae = folder.resolve("vae");
    assertRefused(vae.resolve("model_index.json"), () -> ModelIndex.read(vae), "no such file");
  }
}
