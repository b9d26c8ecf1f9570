package org.glance4j;

import static org.glance4j.reference.ErrorAssert.assertError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.stream.Stream;
import org.glance4j.schedule.ScheduleSpec;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PresetTest {
  private static final ScheduleSpec SCHEDULE = ScheduleSpec.parse("custom:[slow 1.0, fast 0.6]");
  private static final String PRESETS =
      """
      {"presets": {
        "default": {
          "schedule": "custom:[slow 1.0, fast 0.6]", "cfg": 2.5, "lora_scale": 0.5,
          "slow_lora": "adapters/slow.safetensors", "fast_lora": "adapters/fast.safetensors"},
        "quick": {"schedule": "base-2"}}}
      """;
  private static final GlanceOptions NONE = GlanceOptions.builder().preset("none").build();

  @TempDir static Path temporary;
  private static Path model;
  private static Path slow;
  private static Path fast;

  @BeforeAll
  static void copyModel() throws IOException {
    model = copy(TestModels.TINY, temporary.resolve("model"));
    Path adapters = Files.createDirectories(model.resolve("adapters"));
    slow = TinyAdapters.write(adapters.resolve("slow.safetensors"), 1);
    fast = TinyAdapters.write(adapters.resolve("fast.safetensors"), 2);
  }

  @BeforeEach
  void writePresets() {
    write(PRESETS);
  }

  @Test
  void openRequestTakesAllOfTheDefault() {
    GlanceOptions own = NONE.toBuilder().slowLora(slow).fastLora(fast).loraScale(0.5).build();
    GeneratedImage expected = draw(own, request().schedule(SCHEDULE).cfg(2.5));
    GeneratedImage drawn = draw(GlanceOptions.DEFAULTS, request());
    assertArrayEquals(expected.rgb(), drawn.rgb());
    assertEquals(SCHEDULE, drawn.recipe().request().schedule());
    assertEquals(2.5, drawn.recipe().request().cfg());
    assertEquals("default", drawn.recipe().options().preset());
    assertArrayEquals(
        draw(own.toBuilder().loraScale(0.25).build(), request().schedule(SCHEDULE).cfg(2.5)).rgb(),
        draw(GlanceOptions.builder().loraScale(0.5).build(), request()).rgb(),
        "the caller's scale multiplies the preset's");
  }

  @Test
  void ownCfgIsKept() {
    ImageRequest completed = complete(GlanceOptions.DEFAULTS, request().cfg(1.0));
    assertEquals(1, completed.cfg());
    assertEquals(SCHEDULE, completed.schedule());
  }

  @Test
  void guidancesOfTheStepsTakeThePlaceOfCfg() {
    ScheduleSpec guided = ScheduleSpec.parse("custom:[slow 1.0 cfg 2.5, fast 0.5 cfg 2.5]");
    ImageRequest completed = complete(NONE, request().schedule(guided));
    assertEquals(2.5, completed.cfg());
    assertEquals(completed, complete(NONE, completed.toBuilder()));
    ScheduleSpec plain = ScheduleSpec.parse("custom:[slow 1.0, fast 0.5]");
    assertArrayEquals(
        draw(NONE, request().schedule(plain).cfg(2.5)).rgb(),
        draw(NONE, request().schedule(guided)).rgb());
    assertError(
        IllegalArgumentException.class,
        () -> complete(NONE, request().schedule(guided).cfg(1.0)),
        "has a cfg of its own for each step; leave cfg out");
  }

  @Test
  void ownScheduleTakesTheAdaptersOnly() {
    GlanceOptions own = NONE.toBuilder().slowLora(slow).fastLora(fast).loraScale(0.5).build();
    ScheduleSpec other = ScheduleSpec.parse("custom:[slow 1.0, fast 0.5]");
    GeneratedImage drawn = draw(GlanceOptions.DEFAULTS, request().schedule(other));
    assertArrayEquals(draw(own, request().schedule(other)).rgb(), drawn.rgb());
    assertEquals(1, drawn.recipe().request().cfg());
    ImageRequest.Builder base = request().schedule(ScheduleSpec.base(2));
    assertArrayEquals(draw(NONE, base).rgb(), draw(GlanceOptions.DEFAULTS, base).rgb());
  }

  @Test
  void optionsChoose() {
    assertEquals(ScheduleSpec.base(50), complete(NONE, request()).schedule());
    ImageRequest quick = complete(GlanceOptions.builder().preset("quick").build(), request());
    assertEquals(ScheduleSpec.base(2), quick.schedule());
    assertEquals(1, quick.cfg());
    assertError(
        IllegalArgumentException.class,
        () -> load(GlanceOptions.builder().preset("fine").build()),
        "no preset \"fine\"; use default, quick or none");
    write("{\"presets\": {}}");
    assertEquals(ScheduleSpec.base(50), complete(GlanceOptions.DEFAULTS, request()).schedule());
  }

  @Test
  void ownAdaptersTakeThePlaceOfThePresets() {
    GlanceOptions own = GlanceOptions.builder().slowLora(fast).fastLora(slow).build();
    assertEquals(ScheduleSpec.glance(), complete(own, request()).schedule());
    GlanceOptions both = own.toBuilder().preset("default").build();
    try (Glance glance = load(both)) {
      assertEquals(both, glance.options());
      assertEquals(SCHEDULE, glance.complete(request().build()).schedule());
    }
  }

  @Test
  void otherAdaptersPutThePresetAside() {
    try (Glance glance = load(GlanceOptions.DEFAULTS)) {
      assertEquals(
          NONE.toBuilder().preset("default").slowLora(slow).fastLora(fast).loraScale(0.5).build(),
          glance.options());
      glance.useAdapters(/* slow= */ fast, /* fast= */ slow, 2);
      assertEquals(
          NONE.toBuilder().slowLora(fast).fastLora(slow).loraScale(2).build(), glance.options());
      assertEquals(ScheduleSpec.glance(), glance.complete(request().build()).schedule());
      glance.useAdapters(null, null, 1);
      assertEquals(ScheduleSpec.base(50), glance.complete(request().build()).schedule());
    }
  }

  @Test
  void negativePromptNeedsCfgWhereverItComesFrom() {
    ImageRequest.Builder negative = request().negativePrompt("blue");
    assertEquals(2.5, complete(GlanceOptions.DEFAULTS, negative).cfg());
    for (String preset : new String[] {"quick", "none"}) {
      assertError(
          IllegalArgumentException.class,
          () -> complete(GlanceOptions.builder().preset(preset).build(), negative),
          "set cfg above 1");
    }
  }

  @Test
  void customSigmasFollowTheSize() {
    ImageRequest small = complete(GlanceOptions.DEFAULTS, request().size(64, 64));
    assertEquals(SCHEDULE, small.schedule());
    // 64 instead of 16 tokens: mu, and with it the log-odds of sigma, grow by 48 / 3840 * 0.65.
    double odds = 0.6f / (1 - (double) 0.6f) * Math.exp(48 * 0.65 / 3840);
    String moved = "custom:[slow 1.0, fast " + (float) (odds / (1 + odds)) + "]";
    ImageRequest large = complete(GlanceOptions.DEFAULTS, request().size(128, 128));
    assertEquals(moved, String.valueOf(large.schedule()));
    ImageRequest own = complete(NONE, request().size(128, 128).schedule(SCHEDULE));
    assertEquals(SCHEDULE, own.schedule(), "a caller's own list is not moved");
  }

  @Test
  void recipeRepeatsEvenWhereTheModelHasMoved() throws IOException {
    GeneratedImage drawn = draw(GlanceOptions.DEFAULTS, request().size(128, 128));
    Path png = temporary.resolve("a.png");
    drawn.writePng(png);
    Recipe recipe = Recipe.read(png);
    assertEquals(drawn.recipe().toJson(), recipe.toJson());
    try (Glance glance = Glance.load(recipe)) {
      assertArrayEquals(drawn.rgb(), glance.generate(recipe.request()).image().rgb());
    }
    Path moved = copy(model, temporary.resolve("moved"));
    try (Glance glance = Glance.load(moved, recipe.options())) {
      assertArrayEquals(drawn.rgb(), glance.generate(recipe.request()).image().rgb());
      assertTrue(String.valueOf(glance.options().slowLora()).contains("moved"));
    }
  }

  @Test
  void recipeFromBeforePresetsMeansNone() throws IOException {
    GeneratedImage plain = draw(NONE, request().schedule(SCHEDULE));
    ObjectNode json = (ObjectNode) new ObjectMapper().readTree(plain.recipe().toJson());
    json.remove("preset");
    Recipe old = Recipe.fromJson(json.toString());
    try (Glance glance = Glance.load(old)) {
      assertArrayEquals(plain.rgb(), glance.generate(old.request()).image().rgb());
      assertNull(glance.options().slowLora());
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '\'',
      value = {
        "{ | valid JSON",
        "{} | presets: is missing",
        "{\"presets\": {}, \"preset\": {}} | preset: is not a known key",
        "{\"presets\": []} | presets: [] is not an object",
        "{\"presets\": {\"a\": 3}} | presets.a: 3 is not an object",
        "{\"presets\": {\"a\": {}}} | presets.a.schedule: is missing",
        "{\"presets\": {\"none\": {\"schedule\": \"base\"}}} | presets.none:; another name",
        "{\"presets\": {\"a\": {\"schedule\": \"base\", \"x\": 1}}} | presets.a.x: is not a known",
        "{\"presets\": {\"a\": {\"schedule\": \"fast\"}}} | presets.a.schedule:; custom:[slow",
        "{\"presets\": {\"a\": {\"schedule\": \"custom:list.txt\"}}} | presets.a.schedule:; not known",
        "{\"presets\": {\"a\": {\"schedule\": \"custom:[slow 2]\"}}} | presets.a.schedule:; sigma 2",
        "{\"presets\": {\"a\": {\"schedule\": \"base\", \"cfg\": 0.5}}} | presets.a.cfg: 0.5; at least 1",
        "{\"presets\": {\"a\": {\"schedule\": \"base\", \"cfg\": \"2\"}}} | presets.a.cfg:; number",
        "{\"presets\": {\"a\": {\"schedule\": \"base\", \"lora_scale\": 2}}} | presets.a.lora_scale:; remove",
        "{\"presets\": {\"a\": {\"schedule\": \"base\", \"slow_lora\": \"x\"}}} | presets.a.slow_lora:; not there",
        "{\"presets\": {\"a\": {\"schedule\": \"base\", \"fast_lora\": \"../x\"}}} | presets.a.fast_lora:; outside",
        "{\"presets\": {\"a\": {\"schedule\": \"base\", \"fast_lora\": \"/x\"}}} | presets.a.fast_lora:; outside",
        "{\"presets\": {\"a\": {\"schedule\": \"base\", \"slow_lora\": \"vae\"}}} | presets.a.slow_lora:; not there",
      })
  void brokenFileNamesKeyAndFix(String json, String parts) {
    write(json);
    assertError(
        ModelFormatException.class,
        () -> load(GlanceOptions.DEFAULTS),
        ("glance.json; " + parts).split("; "));
    assertEquals(ScheduleSpec.base(50), complete(NONE, request()).schedule());
  }

  @Test
  void adapterOfAnotherModelIsRefused() throws IOException {
    Path other = TinyAdapters.writeForAnotherModel(model.resolve("other.safetensors"));
    write(PRESETS.replace("adapters/slow.safetensors", "other.safetensors"));
    assertError(
        ModelFormatException.class, () -> load(GlanceOptions.DEFAULTS), "other.safetensors");
    Files.delete(other);
  }

  @Test
  void folderWithoutTheFileHasNone() throws IOException {
    Files.delete(model.resolve(Preset.FILE_NAME));
    assertEquals(Set.of(), Preset.readAll(model).keySet());
    assertEquals(ScheduleSpec.base(50), complete(GlanceOptions.DEFAULTS, request()).schedule());
    assertError(
        IllegalArgumentException.class,
        () -> load(GlanceOptions.builder().preset("default").build()),
        "no preset \"default\"; use none");
  }

  private static ImageRequest.Builder request() {
    return ImageRequest.builder("panda");
  }

  private static Glance load(GlanceOptions options) {
    return Glance.load(model, options);
  }

  private static GeneratedImage draw(GlanceOptions options, ImageRequest.Builder request) {
    try (Glance glance = load(options)) {
      return glance.generate(request.build()).image();
    }
  }

  private static ImageRequest complete(GlanceOptions options, ImageRequest.Builder request) {
    try (Glance glance = load(options)) {
      return glance.complete(request.build());
    }
  }

  private static void write(String json) {
    try {
      Files.writeString(model.resolve(Preset.FILE_NAME), json);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Path copy(Path from, Path to) throws IOException {
    try (Stream<Path> files = Files.walk(from)) {
      for (Path file : files.toList()) {
        Files.copy(file, to.resolve(from.relativize(file).toString()));
      }
    }
    return to;
  }
}
