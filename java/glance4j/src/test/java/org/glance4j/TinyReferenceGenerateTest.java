package org.glance4j;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.ImageAssert;
import org.glance4j.reference.Reference;
import org.glance4j.schedule.ScheduleSpec;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.AfterParameterizedClassInvocation;
import org.junit.jupiter.params.BeforeParameterizedClassInvocation;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** The bundled model draws what diffusers draws from the same seed. */
@ParameterizedClass
@MethodSource("org.glance4j.kernel.TestBackends#all")
class TinyReferenceGenerateTest {
  @Parameter Backend backend;

  private static final String FOLDER = "glance-tiny/";
  private static final double LATENTS_TOLERANCE = 1e-4;
  private static final double PIXEL_LEVELS = 2;

  private static Glance glance;

  @BeforeParameterizedClassInvocation
  static void load(Backend backend) {
    glance =
        Glance.load(
            TestModels.TINY, GlanceOptions.builder().backend(backend).preset("none").build());
  }

  @AfterParameterizedClassInvocation
  static void close() {
    glance.close();
  }

  @TestFactory
  Stream<DynamicTest> pictures() {
    assumeTrue(Files.exists(Reference.path(FOLDER + "manifest.json")));
    JsonNode manifest = Reference.readJson(FOLDER + "manifest.json");
    return StreamSupport.stream(manifest.path("cases").spliterator(), false)
        .map(run -> DynamicTest.dynamicTest(run.path("file").asText(), () -> check(manifest, run)));
  }

  private static void check(JsonNode manifest, JsonNode run) {
    double cfg = run.path("true_cfg_scale").asDouble();
    ImageRequest request =
        ImageRequest.builder(run.path("prompt").asText())
            .negativePrompt(cfg > 1 ? manifest.path("negative_prompt").asText() : null)
            .cfg(cfg)
            .size(manifest.path("width").asInt(), manifest.path("height").asInt())
            .seed(run.path("torch_seed").asLong())
            .maxTextTokens(manifest.path("max_sequence_length").asInt())
            .schedule(schedule(run))
            .build();
    GeneratedImage image = glance.generate(request).image();
    try (PointerScope scope = new PointerScope();
        Goldens expected = Goldens.open(Reference.path(FOLDER + run.path("file").asText()))) {
      assertClose(
          "latents", expected.get("latents"), image.latents().toTensor(), LATENTS_TOLERANCE);
      Tensor pixels =
          expected.get("image").permute(1, 2, 0).mul(new Scalar(255)).round().to(ScalarType.Byte);
      ImageAssert.assertClose("image", pixels, image.rgb(), PIXEL_LEVELS);
    }
  }

  private static ScheduleSpec schedule(JsonNode run) {
    String name = run.path("schedule").asText();
    return name.equals("glance10")
        ? ScheduleSpec.glance()
        : ScheduleSpec.base(Integer.parseInt(name));
  }
}
