package org.glance4j;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.ImageAssert;
import org.glance4j.reference.Reference;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.PhaseSigma;
import org.glance4j.schedule.ScheduleSpec;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** Whole generations against the reference's, latents after every step included. */
@ParameterizedClass
@MethodSource("org.glance4j.kernel.TestBackends#all")
class FluxReferenceGenerateTest {
  @Parameter Backend backend;

  private static final double LATENTS_TOLERANCE = 3e-5;
  private static final double PIXEL_LEVELS = 1;

  /** What diffusers pads to unless it is told otherwise. */
  private static final int DIFFUSERS_TEXT_TOKENS = 512;

  @TestFactory
  Stream<DynamicTest> baseSchedule() {
    assumeTrue(Reference.hasGoldens("flux_generate"));
    Goldens goldens = Reference.goldens("flux_generate");
    List<String> prompts = prompts(goldens.entry());
    int steps = (int) goldens.get("timesteps").numel();
    return IntStream.range(0, prompts.size())
        .mapToObj(
            b ->
                DynamicTest.dynamicTest(
                    "prompt " + b,
                    () -> {
                      ImageRequest.Builder request =
                          request(goldens, prompts.get(b), b, "init_latents_packed")
                              .maxTextTokens(DIFFUSERS_TEXT_TOKENS)
                              .schedule(ScheduleSpec.base(steps));
                      List<String> names =
                          IntStream.range(0, steps)
                              .mapToObj(i -> "latents_after_step" + i)
                              .toList();
                      check(options().build(), request, goldens, names, "image_uint8", b);
                    }));
  }

  @TestFactory
  Stream<DynamicTest> glanceSchedules() {
    assumeTrue(Reference.hasGoldens("glance_flux"));
    Goldens goldens = Reference.goldens("glance_flux");
    List<String> prompts = prompts(goldens.entry());
    return Stream.of("official", "consistent", "consistent_scale1")
        .filter(mode -> goldens.has(mode + ".image_uint8"))
        .flatMap(
            mode ->
                IntStream.range(0, prompts.size())
                    .mapToObj(
                        b ->
                            DynamicTest.dynamicTest(
                                mode + ", prompt " + b,
                                () -> checkGlance(goldens, mode, prompts.get(b), b))));
  }

  private GlanceOptions.Builder options() {
    return GlanceOptions.builder().backend(backend);
  }

  private void checkGlance(Goldens goldens, String mode, String prompt, int b) {
    // Without alpha the authors' files apply scale 1; these files say alpha / rank, so divide.
    double loraScale = mode.equals("consistent_scale1") ? 1 / fileScale() : 1;
    GlanceOptions options =
        options()
            .slowLora(Reference.path("adapters/flux/slow.metadata.safetensors"))
            .fastLora(Reference.path("adapters/flux/fast.metadata.safetensors"))
            .loraScale(loraScale)
            .build();
    ScheduleSpec schedule =
        mode.equals("official") ? ScheduleSpec.official() : customSchedule(goldens);
    ImageRequest.Builder request =
        request(goldens, prompt, b, "init_latents_packed")
            .schedule(schedule)
            .maxTextTokens((int) goldens.get("prompt_embeds").size(1));
    List<String> names = new ArrayList<>();
    for (Phase phase : List.of(Phase.SLOW, Phase.FAST)) {
      for (int i = 0; i < stepsOf(goldens, mode, phase); i++) {
        names.add(mode + "." + phase + ".latents_after_step" + i);
      }
    }
    check(options, request, goldens, names, mode + ".image_uint8", b);
  }

  private static void check(
      GlanceOptions options,
      ImageRequest.Builder request,
      Goldens goldens,
      List<String> stepNames,
      String image,
      int batchIndex) {
    List<Latents> seen = new ArrayList<>();
    try (Glance glance = Glance.load(TestModels.fluxReference(), options)) {
      GeneratedImage result =
          glance.generate(request.listener(event -> seen.add(event.latents())).build()).image();
      assertEquals(stepNames.size(), seen.size(), "steps");
      try (PointerScope scope = new PointerScope()) {
        for (int i = 0; i < seen.size(); i++) {
          String name = golden(goldens, stepNames.get(i));
          Tensor expected = goldens.get(name).narrow(0, batchIndex, 1);
          assertClose(name, expected, seen.get(i).toTensor(), LATENTS_TOLERANCE);
        }
        ImageAssert.assertClose(
            image, goldens.get(image).select(0, batchIndex), result.rgb(), PIXEL_LEVELS);
      }
    }
  }

  private static ImageRequest.Builder request(
      Goldens goldens, String prompt, int batchIndex, String latents) {
    try (PointerScope scope = new PointerScope()) {
      Tensor image =
          goldens.get(goldens.has("image_uint8") ? "image_uint8" : "official.image_uint8");
      return ImageRequest.builder(prompt)
          .guidance(goldens.entry().path("guidance").asDouble(guidance()))
          .size((int) image.size(2), (int) image.size(1))
          .initialLatents(Latents.of(goldens.get(latents).select(0, batchIndex)));
    }
  }

  /** The reference steps along sigma = t / 1000 of listed timesteps: for us, a custom schedule. */
  private static ScheduleSpec customSchedule(Goldens goldens) {
    try (PointerScope scope = new PointerScope()) {
      Tensor sigmas = goldens.get("consistent.sigma_from").to(ScalarType.Float).contiguous();
      float[] values = new float[(int) sigmas.numel()];
      new FloatPointer(sigmas.data_ptr_float()).get(values);
      int slow = stepsOf(goldens, "consistent", Phase.SLOW);
      List<PhaseSigma> list = new ArrayList<>();
      for (int i = 0; i < values.length; i++) {
        list.add(new PhaseSigma(i < slow ? Phase.SLOW : Phase.FAST, values[i]));
      }
      return ScheduleSpec.custom(list);
    }
  }

  private static int stepsOf(Goldens goldens, String mode, Phase phase) {
    String prefix = golden(goldens, mode + "." + phase + ".latents_after_step");
    return (int) goldens.names().stream().filter(name -> name.startsWith(prefix)).count();
  }

  /** The golden files write phases in lower case. */
  private static String golden(Goldens goldens, String name) {
    return goldens.has(name) ? name : name.toLowerCase(java.util.Locale.ROOT);
  }

  private static List<String> prompts(JsonNode entry) {
    JsonNode prompt = entry.path("prompt");
    return prompt.isArray() ? Reference.strings(prompt) : List.of(prompt.asText());
  }

  private static double guidance() {
    return Reference.manifest().path("profile").path("guidance").asDouble();
  }

  private static double fileScale() {
    return Reference.manifest().path("profile").path("alpha_mult").asDouble();
  }
}
