package org.glance4j.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.bytedeco.javacpp.PointerScope;
import org.glance4j.schedule.Phase;
import org.glance4j.weights.SafetensorsFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Captions that are not trained on choose which adapter is kept. */
class ValidationTest {
  private static final Path MODEL =
      Path.of("../glance4j-tiny/src/main/resources/org/glance4j/glance-tiny").toAbsolutePath();
  private static final int STEPS = 24;
  private static final List<String> UNSEEN = List.of("ghost", "sunflower");

  @TempDir Path folder;

  /** Steps and error of each validation of a phase. */
  private static final class Errors implements TrainingListener {
    private final Map<Phase, Map<Integer, Double>> seen = new EnumMap<>(Phase.class);

    @Override
    public void onStep(TrainingStep step) {}

    @Override
    public void onValidation(Phase phase, int steps, double error) {
      seen.computeIfAbsent(phase, key -> new TreeMap<>()).put(steps, error);
    }

    Map<Integer, Double> of(Phase phase) {
      return Objects.requireNonNull(seen.get(phase));
    }

    int best(Phase phase) {
      return of(phase).entrySet().stream().min(Map.Entry.comparingByValue()).orElseThrow().getKey();
    }
  }

  /** A constant rate, so that fewer steps are the first ones of more. */
  private static TrainingRecipe recipe(double rate, int steps) {
    return TrainingRecipe.builder(TrainingTarget.CHORD_CFG)
        .cfg(3.5)
        .decay(false)
        .learningRate(rate)
        .batch(1)
        .rank(4)
        .alpha(4)
        .steps(steps)
        .build();
  }

  private OneSampleTrainer.Builder trainer(TrainingRecipe recipe, String output) {
    return OneSampleTrainer.builder()
        .model(MODEL)
        .recipe(recipe)
        .captions(List.of("red apple"))
        .output(folder.resolve(output));
  }

  @Test
  void theAdapterThatServedThemBestIsKept() throws IOException {
    Errors errors = new Errors();
    TrainingResult result =
        trainer(recipe(4e-3, STEPS), "out")
            .validationCaptions(UNSEEN)
            .listener(errors)
            .build()
            .train();
    for (Phase phase : List.of(Phase.SLOW, Phase.FAST)) {
      assertEquals(13, errors.of(phase).size(), "the untrained adapter and twelve times");
      assertEquals(errors.best(phase), result.keptSteps().get(phase));
    }
    int kept = errors.best(Phase.SLOW);
    assertTrue(kept > 0 && kept < STEPS, "nothing to choose: " + errors.of(Phase.SLOW));
    TrainingResult shorter = trainer(recipe(4e-3, kept), "shorter").build().train();
    assertSameTensors(shorter.slow(), result.slow());
    try (SafetensorsFile file = SafetensorsFile.open(result.slow())) {
      String note = String.valueOf(file.header().metadata().get("glance4j.validation"));
      assertTrue(note.startsWith("best after " + kept + " of 24 steps"), note);
    }
  }

  private static void assertSameTensors(Path expected, Path actual) {
    try (SafetensorsFile one = SafetensorsFile.open(expected);
        SafetensorsFile other = SafetensorsFile.open(actual);
        PointerScope scope = new PointerScope()) {
      assertEquals(one.tensors().keySet(), other.tensors().keySet());
      for (String name : one.tensors().keySet()) {
        assertTrue(one.tensor(name).equal(other.tensor(name)), name);
      }
    }
  }

  @Test
  void theUntrainedAdapterIsKeptWhereTrainingOnlyHurts() throws IOException {
    TrainingResult result =
        trainer(recipe(0.5, 4), "out").validationCaptions(UNSEEN).build().train();
    assertEquals(Map.of(Phase.SLOW, 0, Phase.FAST, 0), result.keptSteps());
    try (SafetensorsFile file = SafetensorsFile.open(result.slow());
        PointerScope scope = new PointerScope()) {
      for (String name : file.tensors().keySet()) {
        boolean zero = file.tensor(name).count_nonzero().item_long() == 0;
        assertEquals(name.contains("lora_B"), zero, name);
      }
    }
  }

  @Test
  void aTrainingThatGoesOnKeepsTheSame() throws IOException {
    TrainingRecipe recipe = recipe(4e-3, STEPS);
    TrainingResult whole = trainer(recipe, "whole").validationCaptions(UNSEEN).build().train();
    // Before the best, after it, as the slow expert ends, and in the fast one.
    for (int cancelAt : new int[] {1, STEPS - 1, STEPS, STEPS + 5}) {
      String output = "cancelled" + cancelAt;
      CancelledTraining.run(trainer(recipe, output).validationCaptions(UNSEEN), cancelAt);
      TrainingResult rest = trainer(recipe, output).validationCaptions(UNSEEN).build().train();
      assertArrayEquals(Files.readAllBytes(whole.slow()), Files.readAllBytes(rest.slow()));
      assertArrayEquals(Files.readAllBytes(whole.fast()), Files.readAllBytes(rest.fast()));
      assertEquals(whole.keptSteps(), rest.keptSteps());
    }
  }

  @Test
  void withoutThemTheLastIsKept() throws IOException {
    Errors errors = new Errors();
    TrainingResult result = trainer(recipe(4e-3, 2), "out").listener(errors).build().train();
    assertEquals(Map.of(Phase.SLOW, 2, Phase.FAST, 2), result.keptSteps());
    assertEquals(Map.of(), errors.seen);
  }

  @ParameterizedTest
  @ValueSource(strings = {" ", "red apple"})
  void captionsThatShowNothingAreRefused(String caption) {
    OneSampleTrainer.Builder builder =
        trainer(recipe(4e-3, 2), "out").validationCaptions(List.of(caption));
    IllegalArgumentException error = assertThrows(IllegalArgumentException.class, builder::build);
    assertTrue(
        String.valueOf(error.getMessage())
            .startsWith(
                caption.isBlank()
                    ? "a validation caption is blank"
                    : "validation caption \"red apple\""));
  }
}
