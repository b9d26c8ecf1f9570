package org.glance4j.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.glance4j.Glance;
import org.glance4j.GlanceOptions;
import org.glance4j.ImageRequest;
import org.glance4j.ModelFormatException;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.ScheduleSpec;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class OneSampleTrainerTest {
  private static final Path MODEL =
      Path.of("../glance4j-tiny/src/main/resources/org/glance4j/glance-tiny").toAbsolutePath();
  private static final int STEPS = 6;

  @TempDir Path folder;

  private Path picture(int width, int height) throws IOException {
    BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_INT_ARGB);
    Graphics2D graphics = image.createGraphics();
    graphics.setColor(Color.RED);
    graphics.fillOval(width / 4, height / 4, width / 2, height / 2);
    graphics.dispose();
    Path file = folder.resolve(width + "x" + height + ".png");
    ImageIO.write(image, "png", file.toFile());
    return file;
  }

  private static TrainingRecipe.Builder recipe(TrainingTarget target) {
    return TrainingRecipe.builder(target).steps(STEPS).batch(1).noises(1).rank(4).alpha(16);
  }

  private OneSampleTrainer.Builder trainer(TrainingRecipe recipe, String output)
      throws IOException {
    OneSampleTrainer.Builder builder =
        OneSampleTrainer.builder().model(MODEL).recipe(recipe).output(folder.resolve(output));
    return recipe.target().needsPicture()
        ? builder.sample(picture(64, 64), "red circle")
        : builder.captions(List.of("red circle"));
  }

  private static List<String> names(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(file -> String.valueOf(file.getFileName())).sorted().toList();
    }
  }

  @ParameterizedTest
  @EnumSource(TrainingTarget.class)
  void everyTargetMakesTwoAdaptersThatDraw(TrainingTarget target) throws IOException {
    List<TrainingStep> seen = new ArrayList<>();
    TrainingRecipe recipe = recipe(target).cfg(target == TrainingTarget.FLOW ? 1 : 3.5).build();
    TrainingResult result = trainer(recipe, "out").listener(seen::add).build().train();
    assertEquals(
        List.of("fast.safetensors", "loss.png", "slow.safetensors"), names(folder.resolve("out")));
    assertEquals(2 * STEPS, seen.size());
    assertEquals(Phase.SLOW, seen.get(0).phase());
    assertEquals(Phase.FAST, seen.get(2 * STEPS - 1).phase());
    assertEquals(0, seen.get(2 * STEPS - 1).secondsLeft(), 1e-9);
    assertTrue(seen.stream().allMatch(step -> step.loss() > 0 && step.gradientNorm() > 0));
    assertEquals(losses(result, Phase.SLOW).get(2), seen.get(2).loss());
    assertTrue(ImageIO.read(result.lossCurve().toFile()).getWidth() > 100);
    byte[] plain = draw(null, null);
    byte[] adapted = draw(result.slow(), result.fast());
    assertFalse(java.util.Arrays.equals(plain, adapted), "the adapters change nothing");
  }

  private static byte[] draw(@Nullable Path slow, @Nullable Path fast) {
    GlanceOptions options = GlanceOptions.builder().slowLora(slow).fastLora(fast).build();
    try (Glance glance = Glance.load(MODEL, options)) {
      ImageRequest request =
          ImageRequest.builder("red circle").schedule(ScheduleSpec.glance()).build();
      return glance.generate(request).image().rgb();
    }
  }

  @Test
  void chordsAreLearnt() throws IOException {
    TrainingRecipe recipe =
        TrainingRecipe.builder(TrainingTarget.CHORD_CFG).steps(40).cfg(3.5).build();
    TrainingResult result = trainer(recipe, "out").build().train();
    for (Phase phase : List.of(Phase.SLOW, Phase.FAST)) {
      List<Double> losses = losses(result, phase);
      double before = mean(losses.subList(0, 10));
      double after = mean(losses.subList(30, 40));
      assertTrue(after < 0.8 * before, phase + ": from " + before + " to " + after);
    }
  }

  @ParameterizedTest
  @EnumSource(TrainingTarget.class)
  void residentPartsChangeNoByte(TrainingTarget target) throws IOException {
    TrainingRecipe recipe = recipe(target).cfg(target == TrainingTarget.FLOW ? 1 : 3.5).build();
    OneSampleTrainer turns = trainer(recipe, "turns").build();
    OneSampleTrainer resident = trainer(recipe, "resident").keepResident(true).build();
    assertTrue(turns.requiredBytes() < resident.requiredBytes());
    Path one = turns.train().fast();
    assertArrayEquals(Files.readAllBytes(one), Files.readAllBytes(resident.train().fast()));
  }

  private static List<Double> losses(TrainingResult result, Phase phase) {
    return Objects.requireNonNull(result.losses().get(phase));
  }

  private static double mean(List<Double> values) {
    return values.stream().mapToDouble(Double::doubleValue).average().orElseThrow();
  }

  @ParameterizedTest
  @EnumSource(TrainingTarget.class)
  void goesOnWhereItWasCancelledAndEndsInTheSameBytes(TrainingTarget target) throws IOException {
    TrainingRecipe recipe = recipe(target).cfg(target == TrainingTarget.FLOW ? 1 : 3.5).build();
    TrainingResult whole = trainer(recipe, "whole").build().train();
    // Between two saves, as the slow expert ends, before the last step of all.
    for (int cancelAt : new int[] {3, STEPS, 2 * STEPS - 1}) {
      CancelledTraining.run(trainer(recipe, "cancelled" + cancelAt).saveEvery(4), cancelAt);
      int[] left = {0};
      TrainingResult rest =
          trainer(recipe, "cancelled" + cancelAt).listener(step -> left[0]++).build().train();
      assertEquals(2 * STEPS - cancelAt, left[0], "steps that were left");
      assertArrayEquals(Files.readAllBytes(whole.slow()), Files.readAllBytes(rest.slow()));
      assertArrayEquals(Files.readAllBytes(whole.fast()), Files.readAllBytes(rest.fast()));
      assertEquals(whole.losses(), rest.losses());
    }
  }

  @Test
  void anotherTrainingDoesNotGoOnFromThisOne() throws IOException {
    TrainingRecipe first = recipe(TrainingTarget.FLOW).build();
    TrainingRecipe second = recipe(TrainingTarget.FLOW).seed(1).build();
    OneSampleTrainer cancelled = trainer(first, "out").listener(step -> {}).saveEvery(1).build();
    cancelled.cancel();
    assertThrows(TrainingCancelledException.class, cancelled::train);
    TrainingResult mixed = trainer(second, "out").build().train();
    TrainingResult clean = trainer(second, "clean").build().train();
    assertArrayEquals(Files.readAllBytes(clean.slow()), Files.readAllBytes(mixed.slow()));
    TrainingResult other = trainer(first, "other").build().train();
    assertNotEquals(-1, Files.mismatch(clean.slow(), other.slow()), "the seed makes no difference");
  }

  @Test
  void oneAdapterMayServeBothPhases() throws IOException {
    TrainingResult result =
        trainer(recipe(TrainingTarget.CHORD).shared(true).build(), "out").build().train();
    assertEquals(result.slow(), result.fast());
    assertEquals(List.of("loss.png", "shared.safetensors"), names(folder.resolve("out")));
  }

  @Test
  void samplesThatDoNotFitTheTargetAreRefused() throws IOException {
    OneSampleTrainer.Builder builder = OneSampleTrainer.builder().output(folder.resolve("out"));
    assertMessage("there is no caption", builder::build);
    assertMessage(
        "a caption is blank", () -> builder.sample(folder.resolve("any.png"), "  ").build());
    assertMessage("no picture", () -> builder.captions(List.of("fox")).build());
    builder.recipe(TrainingRecipe.of(TrainingTarget.CHORD));
    assertMessage(
        "leave out the picture", () -> builder.sample(folder.resolve("any.png"), "fox").build());
    assertFalse(Files.exists(folder.resolve("out")));
  }

  @ParameterizedTest
  @ValueSource(strings = {"9x9", "64x12"})
  void picturesTooSmallAreRefused(String size) throws IOException {
    String[] sides = size.split("x", -1);
    Path file = picture(Integer.parseInt(sides[0]), Integer.parseInt(sides[1]));
    OneSampleTrainer trainer =
        OneSampleTrainer.builder()
            .model(MODEL)
            .sample(file, "red circle")
            .output(folder.resolve("out"))
            .build();
    assertMessage("too", trainer::train);
  }

  @Test
  void unreadablePicturesAndUnknownLinearsAreRefused() throws IOException {
    Path text = Files.writeString(folder.resolve("text.png"), "no picture");
    OneSampleTrainer unreadable =
        OneSampleTrainer.builder()
            .model(MODEL)
            .sample(text, "fox")
            .output(folder.resolve("out"))
            .build();
    ModelFormatException error = assertThrows(ModelFormatException.class, unreadable::train);
    assertFalse(Files.exists(folder.resolve("out")), "the folder of a training that never began");
    assertTrue(String.valueOf(error.getMessage()).contains("text.png"), error.toString());
    TrainingRecipe wrong = recipe(TrainingTarget.CHORD).linears(List.of("to_z")).build();
    OneSampleTrainer unknown = trainer(wrong, "out").build();
    assertMessage("to_z", unknown::train);
    assertEquals(List.of(), names(folder.resolve("out")));
  }

  private interface Action {
    Object run() throws IOException;
  }

  private static void assertMessage(String part, Action action) {
    IllegalArgumentException error =
        assertThrows(IllegalArgumentException.class, () -> action.run());
    assertTrue(String.valueOf(error.getMessage()).contains(part), error.toString());
  }
}
