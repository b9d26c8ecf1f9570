package org.glance4j.schedule;

import static org.glance4j.reference.ErrorAssert.assertError;
import static org.glance4j.schedule.Schedulers.floats;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.ModelFormatException;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.glance4j.reference.TensorAssert;
import org.glance4j.weights.ConfigFile;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SigmaShiftTest {
  private static final String CLASS = "\"_class_name\": \"FlowMatchEulerDiscreteScheduler\"";

  @TestFactory
  Stream<DynamicTest> baseSchedulesEqualDiffusersBitForBit() {
    List<DynamicTest> tests = new ArrayList<>();
    for (String model : Schedulers.models().toList()) {
      for (JsonNode row : Schedulers.entry(model).path("rows")) {
        tests.add(dynamicTest(model + " " + row, () -> checkRow(model, row)));
      }
    }
    return tests.stream();
  }

  private static void checkRow(String model, JsonNode row) {
    SigmaShift shift = Schedulers.of(model);
    int tokens = row.path("image_seq_len").asInt();
    int steps = row.path("steps").asInt();
    String key =
        "h%dw%d.n%d.".formatted(row.path("height").asInt(), row.path("width").asInt(), steps);
    assertEquals(row.path("mu").asDouble(), shift.mu(tokens), "mu");
    if (!Reference.hasGoldens(model + "_scheduler")) {
      return;
    }
    try (Goldens goldens = Reference.goldens(model + "_scheduler");
        PointerScope scope = new PointerScope()) {
      assertArrayEquals(floats(goldens.get(key + "sigmas")), shift.sigmas(steps, tokens), "sigmas");
      Schedule schedule = ScheduleSpec.base(steps).resolve(shift, tokens);
      assertArrayEquals(
          floats(goldens.get(key + "timesteps")), floats(schedule, Step::timestep), "timesteps");
    }
  }

  @ParameterizedTest
  @CsvSource({
    "STATIC, 0",
    "EXPONENTIAL, 0",
    "EXPONENTIAL, 0.02",
    "LINEAR, 0",
    "LINEAR, 0.02",
  })
  void sigmasKeepTheirPlaceInTheBaseScheduleOfAnotherSize(SigmaShift.Kind kind, double terminal) {
    SigmaShift shift = new SigmaShift(kind, 3, 0.5, 1.15, 256, 4096, terminal, 1000);
    int[] sizes = {16, 256, 1000, 4096};
    for (int from : sizes) {
      for (int to : sizes) {
        float[] source = shift.sigmas(50, from);
        float[] expected = shift.sigmas(50, to);
        for (int i = 0; i < 50; i++) {
          String where = kind + " " + from + " to " + to + " step " + i;
          assertEquals(expected[i], shift.resized(source[i], from, to), 2e-6, where);
        }
        float below = shift.resized(source[49] / 2, from, to);
        assertTrue(below > 0 && below < expected[49], "below the last: " + below);
      }
      assertEquals(0.37f, shift.resized(0.37f, from, from), "same size");
    }
  }

  /** The Euler step of diffusers' scheduler, whose step count and mu stand in the call's text. */
  @TestFactory
  Stream<DynamicTest> eulerStepsEqualDiffusers() {
    return Schedulers.models()
        .filter(model -> Reference.hasGoldens(model + "_scheduler"))
        .map(model -> dynamicTest(model, () -> checkEulerSteps(model)));
  }

  private static void checkEulerSteps(String model) {
    try (Goldens goldens = Reference.goldens(model + "_scheduler");
        PointerScope scope = new PointerScope()) {
      String call = goldens.entry().path("tensors").path("step.sample1").path("call").asText();
      Matcher with = Pattern.compile("with (\\d+) steps, mu=([\\d.]+)").matcher(call);
      assertTrue(with.find(), call);
      int steps = Integer.parseInt(with.group(1));
      float[] sigmas = Schedulers.of(model).sigmas(steps, Double.parseDouble(with.group(2)));
      Tensor sample = goldens.get("step.sample0");
      for (int i = 0; i < steps; i++) {
        Step step = new Step(Phase.BASE, 0, sigmas[i], sigmas[i + 1]);
        Tensor velocity = goldens.get("step.model_output" + i);
        sample = sample.add(velocity.mul(new Scalar(step.dt())));
        TensorAssert.assertExact("sample " + i, goldens.get("step.sample" + (i + 1)), sample);
      }
    }
  }

  @TestFactory
  Stream<DynamicTest> readsTheModelFolders() {
    List<DynamicTest> tests = new ArrayList<>();
    for (String model : Schedulers.models().toList()) {
      Path file = configFile(model.equals("flux") ? "flux-tiny-random" : "qwen-image-tiny-random");
      if (Files.exists(file)) {
        SigmaShift read = SigmaShift.read(ConfigFile.read(file));
        tests.add(dynamicTest(model, () -> assertEquals(Schedulers.of(model), read)));
      }
    }
    return tests.stream();
  }

  private static Path configFile(String folder) {
    return Reference.path(folder + "/scheduler/scheduler_config.json");
  }

  @TestFactory
  Stream<DynamicTest> refusesBrokenSchedulerConfigs() {
    List<DynamicTest> tests = new ArrayList<>();
    for (String name :
        Reference.manifest().path("bad").propertyStream().map(Map.Entry::getKey).toList()) {
      Path file = configFile(name);
      if (Files.exists(file)) {
        tests.add(dynamicTest(name, () -> refuses(file)));
      }
    }
    return tests.stream();
  }

  private static void refuses(Path file) {
    assertError(
        ModelFormatException.class, () -> SigmaShift.read(ConfigFile.read(file)), file.toString());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "use_karras_sigmas | true",
        "use_exponential_sigmas | true",
        "use_beta_sigmas | true",
        "invert_sigmas | true",
        "stochastic_sampling | true",
        "time_shift_type | \"cubic\"",
        "use_dynamic_shifting | 1",
        "shift | 0",
        "shift | \"3\"",
        "shift_terminal | 1.0",
        "shift_terminal | -0.1",
        "base_image_seq_len | 0",
        "num_train_timesteps | 0"
      })
  void refusesWhatItCannotHonour(String key, String value) {
    String json = "{" + CLASS + ", \"" + key + "\": " + value + "}";
    assertError(ModelFormatException.class, () -> Schedulers.ofJson(json), ": " + key + ": ");
  }

  @Test
  void refusesEqualTokenCounts() {
    String json = "{" + CLASS + ", \"use_dynamic_shifting\": true, \"max_image_seq_len\": 256}";
    assertThrows(ModelFormatException.class, () -> Schedulers.ofJson(json));
  }

  @Test
  void staticShiftIgnoresTheImageSize() {
    SigmaShift shift = Schedulers.ofJson("{" + CLASS + ", \"shift\": 3.0}");
    // s = 1, 0.75, 0.5, 0.25 and sigma = 3 s / (1 + 2 s)
    float[] expected = {1, 0.9f, 0.75f, 0.5f, 0};
    assertArrayEquals(expected, shift.sigmas(4, 16), 1e-7f);
    assertArrayEquals(shift.sigmas(4, 16), shift.sigmas(4, 4096));
    // FLUX.1-schnell: a shift of 1 leaves the list as it is.
    float[] even = {1, 0.75f, 0.5f, 0.25f, 0};
    assertArrayEquals(even, Schedulers.ofJson("{" + CLASS + "}").sigmas(4, 4096));
  }

  @Test
  void linearShift() {
    SigmaShift shift =
        Schedulers.ofJson(
            "{" + CLASS + ", \"use_dynamic_shifting\": true, \"time_shift_type\": \"linear\"}");
    // At 256 tokens mu is 0.5: sigma = 0.5 / (0.5 + 1/s - 1) for s = 1, 0.5
    assertArrayEquals(new float[] {1, 1 / 3f, 0}, shift.sigmas(2, 256), 1e-7f);
  }

  @Test
  void oneStepGoesFromOneToZeroEvenWithATerminal() {
    SigmaShift shift = Schedulers.ofJson("{" + CLASS + ", \"shift_terminal\": 0.02}");
    assertArrayEquals(new float[] {1, 0}, shift.sigmas(1, 4096));
  }

  @Test
  void refusesImagesBeyondTheNumbers() {
    SigmaShift shift = Schedulers.ofJson("{" + CLASS + ", \"use_dynamic_shifting\": true}");
    assertThrows(IllegalArgumentException.class, () -> shift.sigmas(50, 4_000_000));
    assertThrows(IllegalArgumentException.class, () -> shift.sigmas(50, 0));
  }
}
