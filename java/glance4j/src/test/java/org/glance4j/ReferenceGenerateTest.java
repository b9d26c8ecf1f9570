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
import org.glance4j.kernel.TestBackends;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.ImageAssert;
import org.glance4j.reference.Reference;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.PhaseSigma;
import org.glance4j.schedule.ScheduleSpec;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Whole generations against the reference's, latents after every step included. */
@ParameterizedClass
@MethodSource("models")
class ReferenceGenerateTest {
  @Parameter(0)
  TestFamily family;

  @Parameter(1)
  Backend backend;

  static Stream<Arguments> models() {
    return Stream.of(TestFamily.values())
        .flatMap(
            family -> TestBackends.all().stream().map(backend -> Arguments.of(family, backend)));
  }

  private static final double LATENTS_TOLERANCE = 3e-5;
  private static final double PIXEL_LEVELS = 1;

  /** What diffusers pads or cuts to unless it is told otherwise. */
  private static final int DIFFUSERS_TEXT_TOKENS = 512;

  @TestFactory
  Stream<DynamicTest> baseSchedule() {
    assumeTrue(Reference.hasGoldens(family.golden("generate")));
    Goldens goldens = Reference.goldens(family.golden("generate"));
    List<String> prompts = prompts(goldens.entry());
    int steps = (int) goldens.get("timesteps").numel();
    return IntStream.range(0, prompts.size())
        .mapToObj(
            b ->
                DynamicTest.dynamicTest(
                    "prompt " + b,
                    () -> {
                      ImageRequest.Builder request =
                          request(goldens, prompts.get(b), b, family.guidance(false))
                              .maxTextTokens(DIFFUSERS_TEXT_TOKENS)
                              .schedule(ScheduleSpec.base(steps));
                      List<String> names =
                          IntStream.range(0, steps)
                              .mapToObj(i -> "latents_after_step" + i)
                              .toList();
                      check(options().build(), request, goldens, names, "image_uint8", b);
                    }));
  }

  /** The reference has a run without CFG in a few steps, of which only the end is kept. */
  @Test
  void withoutCfg() {
    assumeTrue(Reference.hasGoldens(family.golden("generate")));
    Goldens goldens = Reference.goldens(family.golden("generate"));
    assumeTrue(goldens.has("nocfg4.latents"));
    List<Latents> seen = new ArrayList<>();
    try (Glance glance = Glance.load(family.model(), options().build());
        PointerScope scope = new PointerScope()) {
      glance.generate(
          request(goldens, prompts(goldens.entry()).get(0), 0, 1)
              .schedule(ScheduleSpec.base(4))
              .listener(event -> seen.add(event.latents()))
              .build());
      Tensor last = seen.get(seen.size() - 1).toTensor();
      assertClose("nocfg4", goldens.get("nocfg4.latents"), last, LATENTS_TOLERANCE);
    }
  }

  @TestFactory
  Stream<DynamicTest> glanceSchedules() {
    assumeTrue(Reference.hasGoldens(family.glanceGolden()));
    Goldens goldens = Reference.goldens(family.glanceGolden());
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
            .slowLora(family.adapter("slow.metadata.safetensors"))
            .fastLora(family.adapter("fast.metadata.safetensors"))
            .loraScale(loraScale)
            .build();
    ScheduleSpec schedule =
        mode.equals("official") ? ScheduleSpec.official() : customSchedule(goldens);
    ImageRequest.Builder request =
        request(goldens, prompt, b, family.guidance(true))
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

  private void check(
      GlanceOptions options,
      ImageRequest.Builder request,
      Goldens goldens,
      List<String> stepNames,
      String image,
      int batchIndex) {
    List<Latents> seen = new ArrayList<>();
    try (Glance glance = Glance.load(family.model(), options)) {
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

  private ImageRequest.Builder request(
      Goldens goldens, String prompt, int batchIndex, double guidance) {
    try (PointerScope scope = new PointerScope()) {
      Tensor image =
          goldens.get(goldens.has("image_uint8") ? "image_uint8" : "official.image_uint8");
      ImageRequest.Builder request =
          ImageRequest.builder(prompt)
              .size((int) image.size(2), (int) image.size(1))
              .initialLatents(Latents.of(goldens.get("init_latents_packed").select(0, batchIndex)));
      if (family == TestFamily.FLUX || guidance == 1) {
        return request.guidance(guidance);
      }
      return request.cfg(guidance).negativePrompt(goldens.entry().path("negative_prompt").asText());
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

  private static double fileScale() {
    return Reference.manifest().path("profile").path("alpha_mult").asDouble();
  }
}
