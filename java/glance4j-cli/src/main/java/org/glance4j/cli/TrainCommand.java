package org.glance4j.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalLong;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import org.glance4j.HostMemory;
import org.glance4j.evaluate.Prompts;
import org.glance4j.train.OneSampleTrainer;
import org.glance4j.train.TrainingRecipe;
import org.glance4j.train.TrainingResult;
import org.glance4j.train.TrainingTarget;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code glance train}: from one picture, or captions alone, to the adapters of both phases. */
@Command(
    name = "train",
    description = "Trains Slow-LoRA and Fast-LoRA from one picture and its caption.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class TrainCommand implements Callable<Integer> {
  @Mixin RunOptions run = new RunOptions();

  @Option(
      names = "--image",
      paramLabel = "FILE",
      description = "The picture to learn from (PNG, JPEG, ...); for target flow.")
  @Nullable Path image;

  @Option(
      names = "--caption",
      paramLabel = "TEXT",
      description =
          "What the picture shows; for other targets what the model is to draw. Repeatable.")
  List<String> captions = new ArrayList<>();

  @Option(
      names = "--captions",
      paramLabel = "FILE",
      description = "More captions, one a line; for targets other than flow.")
  @Nullable Path captionFile;

  @Option(
      names = "--validation-caption",
      paramLabel = "TEXT",
      description =
          "A caption that is not trained on: the adapters that serve it best during the training,"
              + " sampled with --cfg and --guidance, are kept, not the last ones. Repeatable.")
  List<String> validationCaptions = new ArrayList<>();

  @Option(
      names = {"-o", "--out"},
      paramLabel = "DIR",
      required = true,
      description = "Receives slow.safetensors, fast.safetensors and loss.png.")
  Path output = Path.of("");

  @Mixin RecipeOptions recipeOptions = new RecipeOptions();

  @Option(
      names = "--checkpointing",
      description = "Recompute activations in the backward pass: less memory, a third more time.")
  boolean checkpointing;

  @Option(
      names = "--save-every",
      paramLabel = "N",
      description = "Save after every N steps, to go on from after a kill. Default: 10.")
  int saveEvery = 10;

  @Spec CommandSpec spec = CommandSpec.create();

  @Override
  public Integer call() throws IOException {
    TrainingRecipe recipe = recipeOptions.recipe(run.folder());
    try (TrainingProgress progress = new TrainingProgress()) {
      OneSampleTrainer trainer = trainer(recipe, progress);
      PrintWriter err = spec.commandLine().getErr();
      err.printf(
          Locale.ROOT,
          "needs about %.2f GB of memory%s%n",
          trainer.requiredBytes() / 1e9,
          free(HostMemory.availableBytes()));
      err.flush();
      TrainingResult result = train(trainer);
      progress.close();
      print(result);
    }
    return 0;
  }

  private static TrainingResult train(OneSampleTrainer trainer) throws IOException {
    CountDownLatch ended = new CountDownLatch(1);
    try (ShutdownGuard guard =
        new ShutdownGuard(
            () -> {
              trainer.cancel();
              awaitQuietly(ended);
            })) {
      return trainer.train();
    } finally {
      ended.countDown();
    }
  }

  private static void awaitQuietly(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private OneSampleTrainer trainer(TrainingRecipe recipe, TrainingProgress progress) {
    OneSampleTrainer.Builder builder =
        OneSampleTrainer.builder()
            .model(run.model)
            .recipe(recipe)
            .output(output)
            .validationCaptions(validationCaptions)
            .dtype(run.dtype)
            .backend(run.backend)
            .threads(run.threads)
            .checkpointing(checkpointing)
            .keepResident(run.keepResident != null && run.keepResident)
            .saveEvery(saveEvery)
            .listener(progress);
    List<String> all = new ArrayList<>(captions);
    if (captionFile != null) {
      all.addAll(Prompts.read(captionFile));
    }
    if (recipe.target() == TrainingTarget.FLOW && all.size() > 1) {
      throw new IllegalArgumentException(
          "target flow learns from one picture with one caption, but there are " + all.size());
    }
    if (image == null || all.isEmpty()) {
      return builder.captions(all).build();
    }
    return builder.sample(image, all.get(0)).build();
  }

  private static String free(OptionalLong bytes) {
    return bytes.isPresent()
        ? String.format(Locale.ROOT, "; %.2f GB are free", bytes.getAsLong() / 1e9)
        : "";
  }

  private void print(TrainingResult result) {
    PrintWriter out = spec.commandLine().getOut();
    out.println(result.slow());
    if (!result.fast().equals(result.slow())) {
      out.println(result.fast());
    }
    out.println(result.lossCurve());
    out.flush();
    PrintWriter err = spec.commandLine().getErr();
    if (!validationCaptions.isEmpty()) {
      boolean shared = result.fast().equals(result.slow());
      new TreeMap<>(result.keptSteps())
          .forEach(
              (phase, steps) ->
                  err.printf(
                      Locale.ROOT,
                      "%s: best after %d steps%s%n",
                      shared ? "shared" : phase.toString(),
                      steps,
                      steps == 0 ? "; it changes nothing" : ""));
    }
    err.printf(Locale.ROOT, "trained in %.1f s", result.seconds());
    result
        .peakMemoryBytes()
        .ifPresent(bytes -> err.printf(Locale.ROOT, ", peak memory %.2f GB", bytes / 1e9));
    err.println();
    err.flush();
  }
}
