package org.glance4j.schedule;

import static org.glance4j.reference.ErrorAssert.assertError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.glance4j.ModelFormatException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ScheduleSpecTest {
  @TempDir Path folder;

  @ParameterizedTest
  @ValueSource(
      strings = {
        "base",
        "base-1",
        "base-28",
        "base-1000",
        "glance",
        "glance-3-5",
        "glance-5-10",
        "official",
        "custom:[slow 1.0, fast 0.6]",
        "custom:[base 0.3333333]"
      })
  void textRoundTrips(String text) {
    ScheduleSpec spec = ScheduleSpec.parse(text);
    assertEquals(text, spec.toString());
    assertEquals(spec, ScheduleSpec.parseInline(text));
  }

  @Test
  void customRoundTripsEverySigma() {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    List<PhaseSigma> steps = new ArrayList<>();
    for (float sigma = 1; sigma > 1e-30f; sigma *= random.nextFloat()) {
      steps.add(new PhaseSigma(random.nextBoolean() ? Phase.SLOW : Phase.FAST, sigma));
    }
    ScheduleSpec spec = ScheduleSpec.custom(steps);
    assertEquals(spec, ScheduleSpec.parseInline(spec.toString()), "seed " + seed);
  }

  @Test
  void defaultsHaveTheirOwnNames() {
    assertEquals(ScheduleSpec.base(50), ScheduleSpec.parse("base"));
    assertEquals(ScheduleSpec.base(50), ScheduleSpec.parse("base-50"));
    assertEquals(ScheduleSpec.glance(), ScheduleSpec.parse(" glance-5-5 "));
  }

  @Test
  void readsFiles() throws IOException {
    Path file = write("# mine\n\nslow 1.0\n  SLOW\t0.95 # second\r\nfast 6e-1\n");
    ScheduleSpec expected =
        ScheduleSpec.custom(
            List.of(
                new PhaseSigma(Phase.SLOW, 1f),
                new PhaseSigma(Phase.SLOW, 0.95f),
                new PhaseSigma(Phase.FAST, 0.6f)));
    assertEquals(expected, ScheduleSpec.parse("custom:" + file));
    assertEquals("custom:[slow 1.0, slow 0.95, fast 0.6]", expected.toString());
  }

  @Test
  void stepsMayHaveTheirOwnGuidance() throws IOException {
    ScheduleSpec spec = ScheduleSpec.parse("custom:" + write("slow 1.0 cfg 2.4\nfast 0.5 cfg 2\n"));
    assertEquals("custom:[slow 1.0 cfg 2.4, fast 0.5 cfg 2.0]", spec.toString());
    assertEquals(spec, ScheduleSpec.parseInline(spec.toString()));
    Schedule schedule = spec.resolve(Schedulers.of("flux"), 16);
    assertEquals(2.4f, schedule.steps().get(0).cfg(3.5f));
    assertEquals(2, schedule.steps().get(1).cfg(3.5f));
    assertEquals(2.4f, schedule.ownCfg().orElseThrow(), 1e-6);
    Schedule base = ScheduleSpec.base(2).resolve(Schedulers.of("flux"), 16);
    assertEquals(3.5f, base.steps().get(1).cfg(3.5f));
    assertTrue(base.ownCfg().isEmpty());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "slow 1.0 cfg 0.5 | line 1 | cfg 0.5 must be",
        "slow 1.0 cfg inf | line 1 | cfg \"inf\"",
        "slow 1.0 cfg 2;fast 0.5 | content | only some steps have a cfg",
        "slow 1.0 cgf 2 | line 1 | expected a phase and a sigma",
        "slow 1.0;slo 0.5 | line 2 | phase \"slo\"",
        "slow 1.0;;slow one | line 3 | sigma \"one\"",
        "slow 1.5 | line 1 | sigma 1.5 must be above 0 and at most 1",
        "slow NaN | line 1 | sigma NaN",
        "slow 1.0;fast 0 | line 2 | sigma 0.0",
        "slow 0.5;fast 0.5 | line 2 | below the 0.5",
        "slow 0.5;fast 0.6 | line 2 | below the 0.5",
        "slow | line 1 | expected a phase and a sigma",
        "slow 1 0.5 | line 1 | expected a phase and a sigma",
        "# nothing | content | 0 steps"
      })
  void fileErrorsNameTheLineAndTheValue(String lines, String line, String reason)
      throws IOException {
    Path file = write(lines.replace(';', '\n'));
    assertError(
        ModelFormatException.class,
        () -> ScheduleSpec.read(file),
        file + ": " + line + ": ",
        reason);
  }

  @Test
  void filesThatCannotBeRead() throws IOException {
    Path missing = folder.resolve("missing");
    Path binary = folder.resolve("binary");
    Files.write(binary, new byte[] {(byte) 0xff, (byte) 0xfe, 0});
    for (Path file : List.of(missing, binary, folder)) {
      assertError(
          ModelFormatException.class, () -> ScheduleSpec.parse("custom:" + file), file.toString());
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "glance-",
        "glance-3",
        "glance-0-5",
        "glance-11-5",
        "glance-5-41",
        "glance-5-0",
        "base-0",
        "base-1001",
        "base-99999999999",
        "base--5",
        "Official",
        "karras",
        "custom:",
        "custom:[]",
        "custom:[slow 1.0,]",
        "custom:[slow 1.0, fast 1.0]",
        "custom:[slow 2]"
      })
  void refusesOtherText(String text) {
    assertThrows(IllegalArgumentException.class, () -> ScheduleSpec.parse(text));
  }

  @Test
  void inlineErrorsNameTheStep() {
    assertError(
        IllegalArgumentException.class,
        () -> ScheduleSpec.parse("custom:[slow 1.0, quick 0.5]"),
        "step 2, \"quick 0.5\"");
  }

  @Test
  void recordedTextOpensNoFile() throws IOException {
    Path file = write("slow 1.0\n");
    assertThrows(IllegalArgumentException.class, () -> ScheduleSpec.parseInline("custom:" + file));
  }

  @Test
  void aScheduleNeedsSteps() {
    assertThrows(IllegalArgumentException.class, () -> new Schedule("none", List.of()));
    assertThrows(IllegalArgumentException.class, () -> ScheduleSpec.custom(List.of()));
  }

  private Path write(String text) throws IOException {
    return Files.write(folder.resolve("schedule.txt"), text.getBytes(StandardCharsets.UTF_8));
  }
}
