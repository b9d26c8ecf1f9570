package org.glance4j.schedule;

import static org.glance4j.schedule.Schedulers.floats;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.glance4j.weights.ConfigFile;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class GlanceScheduleTest {
  private static final Pattern BY_SIZE =
      Pattern.compile("(\\w+)\\.(official|resolution_aware)\\.(\\d+)x(\\d+)\\.(\\w+)");
  private static final Pattern ROW = Pattern.compile("(\\w+)\\.(\\d+)x(\\d+)");
  private static final Pattern CONSISTENT = Pattern.compile("(\\w+)\\.consistent\\.(\\w+)");

  @TestFactory
  Stream<DynamicTest> schedulesOfEverySizeEqualTheReference() {
    assumeTrue(Reference.hasGoldens("glance_schedules"));
    List<DynamicTest> tests = new ArrayList<>();
    try (Goldens goldens = Reference.goldens("glance_schedules")) {
      for (String name : goldens.names()) {
        tests.add(dynamicTest(name, () -> checkScheduleTensor(name)));
      }
    }
    return tests.stream();
  }

  private static void checkScheduleTensor(String name) {
    Matcher bySize = BY_SIZE.matcher(name);
    Matcher consistent = CONSISTENT.matcher(name);
    try (Goldens goldens = Reference.goldens("glance_schedules");
        PointerScope scope = new PointerScope()) {
      float[] expected = floats(goldens.get(name));
      if (bySize.matches()) {
        SigmaShift shift = Schedulers.of(bySize.group(1));
        int tokens =
            tokens(
                bySize.group(1),
                Integer.parseInt(bySize.group(3)),
                Integer.parseInt(bySize.group(4)));
        boolean official = bySize.group(2).equals("official");
        ScheduleSpec spec = official ? ScheduleSpec.official() : ScheduleSpec.glance();
        assertArrayEquals(expected, values(spec.resolve(shift, tokens), bySize.group(5)));
      } else {
        assertTrue(consistent.matches(), name + " is of no known kind");
        String model = consistent.group(1);
        float[] sigmas = floats(goldens.get(model + ".consistent.sigma_from"));
        Schedule schedule = fiveAndFive(sigmas).resolve(Schedulers.of(model), 16);
        assertArrayEquals(expected, values(schedule, consistent.group(2)));
      }
    }
  }

  /** The manifest's own summary of what the released code does at each size. */
  @TestFactory
  Stream<DynamicTest> officialSigmasEqualTheManifest() {
    List<DynamicTest> tests = new ArrayList<>();
    JsonNode rows = Reference.manifest().path("glance_findings").path("schedule_rows");
    for (Map.Entry<String, JsonNode> row : rows.properties()) {
      tests.add(dynamicTest(row.getKey(), () -> checkFinding(row.getKey(), row.getValue())));
    }
    return tests.stream();
  }

  private static void checkFinding(String name, JsonNode row) {
    Matcher parts = ROW.matcher(name);
    assertTrue(parts.matches(), name);
    SigmaShift shift = Schedulers.of(parts.group(1));
    int tokens =
        tokens(parts.group(1), Integer.parseInt(parts.group(2)), Integer.parseInt(parts.group(3)));
    assertEquals(row.path("mu").asDouble(), shift.mu(tokens), "mu");
    List<Step> steps = ScheduleSpec.official().resolve(shift, tokens).steps();
    JsonNode slow = row.path("slow_sigmas");
    JsonNode fast = row.path("fast_sigmas");
    for (int i = 0; i < slow.size() - 1; i++) {
      assertEquals(slow.get(i).floatValue(), steps.get(i).sigma());
      assertEquals(slow.get(i + 1).floatValue(), steps.get(i).nextSigma());
    }
    for (int i = 0; i < fast.size() - 1; i++) {
      assertEquals(fast.get(i).floatValue(), steps.get(slow.size() - 1 + i).sigma());
      assertEquals(fast.get(i + 1).floatValue(), steps.get(slow.size() - 1 + i).nextSigma());
    }
    assertEquals(slow.size() + fast.size() - 2, steps.size());
  }

  /** The schedules the ten-step trajectories of the reference walked. */
  @TestFactory
  Stream<DynamicTest> trajectorySchedulesEqualTheReference() {
    return Schedulers.models()
        .filter(model -> Reference.hasGoldens("glance_" + model))
        .map(model -> dynamicTest(model, () -> checkTrajectory(model)));
  }

  private static void checkTrajectory(String model) {
    SigmaShift shift = Schedulers.of(model);
    try (Goldens goldens = Reference.goldens("glance_" + model);
        PointerScope scope = new PointerScope()) {
      JsonNode entry = goldens.entry();
      int tokens = tokens(model, entry.path("width").asInt(), entry.path("height").asInt());
      ScheduleSpec consistent = fiveAndFive(floats(goldens.get("consistent.sigma_from")));
      for (String column : List.of("timesteps", "sigma_from", "sigma_to", "dt")) {
        assertArrayEquals(
            floats(goldens.get("official." + column)),
            values(ScheduleSpec.official().resolve(shift, tokens), column),
            "official " + column);
        assertArrayEquals(
            floats(goldens.get("consistent." + column)),
            values(consistent.resolve(shift, tokens), column),
            "consistent " + column);
      }
    }
  }

  /** The runs of diffusers on the bundled model. */
  @TestFactory
  Stream<DynamicTest> bundledModelRunsEqualTheReference() {
    Path config =
        Path.of(
            "../glance4j-tiny/src/main/resources/org/glance4j/glance-tiny/scheduler/scheduler_config.json");
    assumeTrue(Files.exists(Reference.path("glance-tiny/manifest.json")) && Files.exists(config));
    SigmaShift shift = SigmaShift.read(ConfigFile.read(config));
    JsonNode manifest = Reference.readJson("glance-tiny/manifest.json");
    Path vae = config.resolveSibling("../vae/config.json");
    int side = Schedulers.pixelsPerToken(vae);
    int tokens = (manifest.path("width").asInt() / side) * (manifest.path("height").asInt() / side);
    List<DynamicTest> tests = new ArrayList<>();
    for (JsonNode run : manifest.path("cases")) {
      String file = run.path("file").asText();
      ScheduleSpec spec =
          run.path("schedule").asText().startsWith("glance")
              ? ScheduleSpec.glance()
              : ScheduleSpec.base(run.path("steps").asInt());
      tests.add(dynamicTest(file, () -> checkRun(file, spec.resolve(shift, tokens))));
    }
    return tests.stream();
  }

  private static void checkRun(String file, Schedule schedule) {
    try (Goldens goldens = Goldens.open(Reference.path("glance-tiny/" + file));
        PointerScope scope = new PointerScope()) {
      assertArrayEquals(floats(goldens.get("sigmas")), values(schedule, "sigmas"), 1e-6f);
      assertArrayEquals(floats(goldens.get("timesteps")), values(schedule, "timesteps"), 1e-3f);
    }
  }

  @Test
  void glanceKeepsThePublishedSteps() {
    assertEquals(List.of(1, 3, 5, 7, 9, 11, 21, 31, 41, 50), keptSteps(5, 5));
    assertEquals(List.of(1, 4, 7, 11, 21, 31, 41, 50), keptSteps(3, 5));
    assertEquals(List.of(1, 3, 5, 7, 9, 11, 15, 19, 24, 28, 33, 37, 42, 46, 50), keptSteps(5, 10));
  }

  @Test
  void glanceOfAllStepsIsTheBaseSchedule() {
    SigmaShift shift =
        new SigmaShift(SigmaShift.Kind.EXPONENTIAL, 1, 0.5, 1.15, 256, 4096, 0, 1000);
    assertArrayEquals(
        shift.sigmas(50, 777), values(ScheduleSpec.glance(10, 40).resolve(shift, 777), "sigmas"));
  }

  @Test
  void glanceDescendsFromOneToZeroAtEverySize() {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    for (int i = 0; i < 2000; i++) {
      SigmaShift shift =
          new SigmaShift(
              SigmaShift.Kind.EXPONENTIAL,
              1,
              0.1 + random.nextDouble(),
              0.1 + random.nextDouble(),
              256,
              4096,
              random.nextBoolean() ? 0 : 0.02,
              1000);
      int tokens = 1 + random.nextInt(8192);
      ScheduleSpec spec = ScheduleSpec.glance(1 + random.nextInt(10), 1 + random.nextInt(40));
      String what = "seed " + seed + " run " + i + " " + spec + " " + tokens + " " + shift;
      checkDescends(what, spec.resolve(shift, tokens));
    }
  }

  private static void checkDescends(String what, Schedule schedule) {
    List<Step> steps = schedule.steps();
    assertEquals(1f, steps.get(0).sigma(), what);
    assertEquals(0f, steps.get(steps.size() - 1).nextSigma(), what);
    double sum = 0;
    for (int i = 0; i < steps.size(); i++) {
      Step step = steps.get(i);
      assertTrue(step.dt() < 0, what + " step " + i + " " + step);
      assertTrue(i == 0 || steps.get(i - 1).nextSigma() == step.sigma(), what + " step " + i);
      sum += step.dt();
    }
    assertEquals(-1, sum, 1e-6, what);
  }

  @Test
  void officialRestartsTheFastPhaseAtOne() {
    SigmaShift shift =
        new SigmaShift(SigmaShift.Kind.EXPONENTIAL, 1, 0.5, 1.15, 256, 4096, 0, 1000);
    Schedule schedule = ScheduleSpec.official().resolve(shift, 4096);
    assertEquals(1f, schedule.steps().get(0).sigma());
    assertEquals(1f, schedule.steps().get(5).sigma());
    assertEquals(Phase.SLOW, schedule.steps().get(4).phase());
    assertEquals(Phase.FAST, schedule.steps().get(5).phase());
  }

  /** The 1-based steps of 50 that a Glance schedule keeps. */
  private static List<Integer> keptSteps(int slow, int fast) {
    SigmaShift shift = new SigmaShift(SigmaShift.Kind.STATIC, 1, 0, 0, 1, 2, 0, 1000);
    float[] base = shift.sigmas(50, 1);
    List<Integer> kept = new ArrayList<>();
    Schedule schedule = ScheduleSpec.glance(slow, fast).resolve(shift, 1);
    for (Step step : schedule.steps()) {
      kept.add(indexOf(base, step.sigma()) + 1);
    }
    assertEquals(slow, schedule.steps().stream().filter(s -> s.phase() == Phase.SLOW).count());
    assertEquals(fast, schedule.steps().stream().filter(s -> s.phase() == Phase.FAST).count());
    return kept;
  }

  private static int indexOf(float[] values, float value) {
    for (int i = 0; i < values.length; i++) {
      if (values[i] == value) {
        return i;
      }
    }
    throw new AssertionError(value + " is not in " + Arrays.toString(values));
  }

  private static ScheduleSpec fiveAndFive(float[] sigmas) {
    List<PhaseSigma> steps = new ArrayList<>();
    for (int i = 0; i < sigmas.length; i++) {
      steps.add(new PhaseSigma(2 * i < sigmas.length ? Phase.SLOW : Phase.FAST, sigmas[i]));
    }
    return ScheduleSpec.custom(steps);
  }

  private static int tokens(String model, int width, int height) {
    int side = Schedulers.pixelsPerToken(model);
    return (width / side) * (height / side);
  }

  private static float[] values(Schedule schedule, String column) {
    return switch (column) {
      case "timesteps" -> floats(schedule, Step::timestep);
      case "sigma_from" -> floats(schedule, Step::sigma);
      case "sigma_to" -> floats(schedule, Step::nextSigma);
      case "dt" -> floats(schedule, Step::dt);
      case "sigmas" -> {
        float[] from = floats(schedule, Step::sigma);
        yield Arrays.copyOf(from, from.length + 1);
      }
      default -> throw new AssertionError("column " + column + " is not known");
    };
  }
}
