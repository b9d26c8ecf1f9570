package org.glance4j.evaluate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.glance4j.ModelFormatException;
import org.glance4j.Preset;
import org.glance4j.schedule.ScheduleSpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class MethodTest {
  private static final Map<String, Preset> PRESETS =
      new TreeMap<>(
          Map.of(
              "quick",
              new Preset("quick", ScheduleSpec.base(4), null, null, null, 1),
              "default",
              new Preset("default", ScheduleSpec.glance(), 2.5, Path.of("s"), Path.of("f"), 0.5)));

  @TempDir Path folder;

  @Test
  void readsAllKeysInAnyOrder() {
    assertEquals(
        new Method(
            "chord/0.5 strong",
            "chords",
            ScheduleSpec.glance(3, 5),
            3.5,
            Path.of("my slow.safetensors"),
            Path.of("f=1.safetensors"),
            0.5),
        Method.parse(
            "chord/0.5 strong: scale=0.5 slow=\"my slow.safetensors\" group=chords"
                + "  cfg=3.5 fast=f=1.safetensors schedule=glance-3-5",
            PRESETS));
  }

  @Test
  void defaultsAreOfNoAdapters() {
    assertEquals(
        Method.of("base/10", ScheduleSpec.base(10)),
        Method.parse("  base/10: schedule=base-10 ", PRESETS));
    assertEquals("base", Method.parse("base/10: schedule=base-10", PRESETS).group());
    assertEquals("base", Method.parse("base: schedule=base-10", PRESETS).group());
    assertEquals(
        ScheduleSpec.parse("custom:[slow 1.0, fast 0.5]"),
        Method.parse("mine: schedule=\"custom:[slow 1.0, fast 0.5]\"", PRESETS).schedule());
  }

  @Test
  void aPresetSaysItAll() {
    assertEquals(
        new Method("mine", "all", ScheduleSpec.glance(), 2.5, Path.of("s"), Path.of("f"), 0.5),
        Method.parse("mine: preset=default group=all", PRESETS));
    assertEquals(
        Method.of("preset/quick", ScheduleSpec.base(4)),
        Method.parse("preset/quick: preset=quick", PRESETS));
    assertEquals(
        Method.parse("preset/default: preset=default", PRESETS),
        Method.of(Objects.requireNonNull(PRESETS.get("default"))));
    String message =
        String.valueOf(
            assertThrows(
                    IllegalArgumentException.class, () -> Method.parse("a: preset=b", Map.of()))
                .getMessage());
    assertTrue(message.contains("it has none, so write a schedule"), message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          schedule=base                                  | is not a method
          a:schedule=base                                | is not a method
          a: cfg=2                                       | add for example schedule=base-10
          a: schedule=bose                               | "bose" is not known
          a: schedule=base cfg                           | "cfg" is not key=value
          a: schedule=base, cfg=2                        | "base," is not known
          a: schedule=base cgf=2                         | key "cgf" of "cgf=2" is not known
          a: schedule=base cfg=two                       | "cfg=two": two is not a number
          a: schedule=base cfg=0.5                       | cfg 0.5 must be
          a: schedule=base cfg=2 cfg=3                   | "cfg=3" gives cfg a second time
          a: schedule=base scale=2                       | scale 2.0 has no effect
          a: preset=best                                 | "preset=best": the model has no such preset; use default or quick
          a: preset=quick cfg=2                          | "cfg=2": a preset says the cfg itself
          a: schedule=base slow=s fast=f                 | schedule base uses no adapter
          a: schedule=glance slow=s fast=f scale=NaN     | scale NaN must be a finite number
          a: schedule=glance slow="s fast=f              | "slow="s" is not key=value
          """)
  void saysWhichWordIsWrong(String text, String part) {
    String message =
        String.valueOf(
            assertThrows(IllegalArgumentException.class, () -> Method.parse(text, PRESETS))
                .getMessage());
    assertTrue(message.contains(part), message);
    assertEquals(1, message.lines().count());
  }

  @Test
  void readsAFile() throws IOException {
    Path file = folder.resolve("methods.txt");
    Files.writeString(file, "# plain\n\n base/4: schedule=base-4\nbase/2: schedule=base-2 cfg=2\n");
    assertEquals(
        List.of(
            Method.of("base/4", ScheduleSpec.base(4)),
            Method.of("base/2", ScheduleSpec.base(2), 2.0)),
        Method.read(file, PRESETS));
  }

  @Test
  void aBadLineIsNamed() throws IOException {
    Path file = folder.resolve("methods.txt");
    Files.writeString(file, "# plain\n\nbase/4: schedule=base-4\nbase/2: schedule=base-2 cgf=2\n");
    assertRefused(file, file + ": line 4: key \"cgf\"");
    Files.writeString(file, "# nothing\n");
    assertRefused(file, "has no method");
    Files.write(file, new byte[] {(byte) 0xff, 'a'});
    assertRefused(file, "is not a UTF-8 text file");
    assertRefused(folder.resolve("none"), "no such file of methods");
  }

  private static void assertRefused(Path file, String part) {
    String message =
        String.valueOf(
            assertThrows(ModelFormatException.class, () -> Method.read(file, PRESETS))
                .getMessage());
    assertTrue(message.contains(part), message);
  }
}
