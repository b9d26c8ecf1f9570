package org.glance4j.train;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalLong;
import java.util.stream.Collectors;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.HostMemory;
import org.glance4j.ImageModels;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraWriter;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.glance4j.train.Expert.Outcome;
import org.jspecify.annotations.Nullable;

/** One call of {@link OneSampleTrainer#train()}, from the sample to the files. */
final class TrainingRun {
  private static final String STATE_FILE = "training-state.safetensors";
  private static final String LOSS_CURVE = "loss.png";

  private final OneSampleTrainer trainer;
  private final TrainingRecipe recipe;
  private final Path output;
  private final List<ExpertRole> roles;
  private final Map<Phase, Integer> keptSteps = new EnumMap<>(Phase.class);
  private final Clock clock;

  TrainingRun(OneSampleTrainer trainer) {
    this.trainer = trainer;
    this.recipe = trainer.recipe();
    this.output = trainer.output();
    this.roles = ExpertRole.of(recipe);
    this.clock = new Clock(roles.size() * recipe.steps());
  }

  TrainingResult run() throws IOException {
    // First what can be wrong: nothing is left behind then, and a bad picture need not wait.
    Path folder = trainer.modelFolder();
    ImageSize modelSize = ImageModels.defaultSize(folder);
    BufferedImage picture =
        trainer.picture() == null ? null : TrainingPicture.read(trainer.picture(), modelSize);
    trainer.createOutput();
    String fingerprint = Fingerprint.of(trainer, picture);
    try (TrainingState state = new TrainingState(output.resolve(STATE_FILE), fingerprint);
        ImageModel model =
            ImageModels.openForTraining(
                folder,
                trainer.dtype(),
                trainer.backend(),
                trainer.checkpointing(),
                trainer.keepResident());
        Lessons lessons = lessons(model, picture)) {
      for (ExpertRole role : roles) {
        train(role, model, lessons, state, fingerprint);
      }
      Path curve = output.resolve(LOSS_CURVE);
      LossCurve.write(curve, roles, state);
      state.delete();
      return result(state, curve);
    }
  }

  private Lessons lessons(ImageModel model, @Nullable BufferedImage picture) {
    ImageSize size =
        picture == null
            ? model.defaultSize()
            : new ImageSize(picture.getWidth(), picture.getHeight());
    Schedule schedule = recipe.schedule().resolve(model.sigmaShift(), model.imageTokens(size));
    return new Lessons(model, trainer, size, schedule, picture);
  }

  private void train(
      ExpertRole role, ImageModel model, Lessons lessons, TrainingState state, String fingerprint)
      throws IOException {
    Phase phase = role.phase();
    Map<String, LinearShape> linears = Adapted.linears(model, recipe);
    try (TrainableAdapter adapter =
            new TrainableAdapter(
                linears,
                recipe.rank(),
                recipe.alpha(),
                ImageModels.scalarType(trainer.dtype()),
                Draws.at(recipe.seed(), role.index()).nextLong(),
                lessons.backend());
        Validation validation = lessons.validation(role, adapter)) {
      Map<String, Tensor> progress = new LinkedHashMap<>(adapter.state());
      if (validation != null) {
        progress.putAll(validation.state());
      }
      state.restore(phase, progress);
      clock.resumeAt(state.outcomes(phase).size());
      try (Expert expert =
          new Expert(model, lessons.size(), recipe, adapter, lessons.source(role))) {
        takeSteps(phase, expert, validation, progress, state);
      }
      keptSteps.put(phase, validation == null ? recipe.steps() : validation.keepBest());
      LoraWriter.write(
          output.resolve(role.file()),
          adapter.trained(),
          recipe.rank(),
          recipe.alpha(),
          notes(role, validation, fingerprint));
      state.finish(phase, validation == null ? adapter.result() : validation.state());
      lessons.finished(role, adapter);
    }
  }

  /** Those that the expert has not taken yet. */
  private void takeSteps(
      Phase phase,
      Expert expert,
      @Nullable Validation validation,
      Map<String, Tensor> progress,
      TrainingState state)
      throws IOException {
    List<Outcome> outcomes = state.outcomes(phase);
    if (outcomes.isEmpty()) {
      validate(phase, validation, 0);
    }
    while (outcomes.size() < recipe.steps()) {
      stopIfCancelled(phase, progress, state);
      outcomes.add(expert.step(outcomes.size()));
      validate(phase, validation, outcomes.size());
      if (outcomes.size() % trainer.saveEvery() == 0 || outcomes.size() == recipe.steps()) {
        state.save(phase, progress);
      }
      report(phase, outcomes);
    }
  }

  private void validate(Phase phase, @Nullable Validation validation, int taken) {
    if (validation == null || !validation.isDue(taken)) {
      return;
    }
    double error = validation.validate(taken);
    TrainingListener listener = trainer.listener();
    if (listener != null) {
      listener.onValidation(phase, taken, error);
    }
  }

  private void stopIfCancelled(Phase phase, Map<String, Tensor> progress, TrainingState state)
      throws IOException {
    try {
      trainer.checkCancelled();
    } catch (TrainingCancelledException e) {
      state.save(phase, progress);
      throw e;
    }
  }

  private void report(Phase phase, List<Outcome> outcomes) {
    double secondsLeft = clock.step();
    TrainingListener listener = trainer.listener();
    if (listener != null) {
      int index = outcomes.size() - 1;
      Outcome outcome = outcomes.get(index);
      listener.onStep(
          new TrainingStep(
              phase,
              index,
              recipe.steps(),
              outcome.loss(),
              outcome.gradientNorm(),
              recipe.learningRate(index),
              secondsLeft));
    }
  }

  /** What the file says of itself to whoever finds it. */
  private Map<String, String> notes(
      ExpertRole role, @Nullable Validation validation, String fingerprint) {
    Map<String, String> notes = new LinkedHashMap<>();
    notes.put(
        "glance4j.phases",
        role.phases().stream().map(Phase::toString).collect(Collectors.joining(" ")));
    notes.put("glance4j.recipe", recipe.toString());
    if (validation != null) {
      notes.put(
          "glance4j.validation",
          String.format(
              Locale.ROOT,
              "best after %d of %d steps, error %.6f",
              keptSteps.get(role.phase()),
              recipe.steps(),
              validation.error()));
    }
    notes.put("glance4j.training", fingerprint);
    return notes;
  }

  private TrainingResult result(TrainingState state, Path curve) {
    Map<Phase, List<Double>> losses = new EnumMap<>(Phase.class);
    List<Path> files = new ArrayList<>();
    for (ExpertRole role : roles) {
      losses.put(role.phase(), state.outcomes(role.phase()).stream().map(Outcome::loss).toList());
      files.add(output.resolve(role.file()));
    }
    OptionalLong peak = HostMemory.peakResidentBytes();
    return new TrainingResult(
        files.get(0), files.get(files.size() - 1), curve, losses, keptSteps, clock.seconds(), peak);
  }

  /** Time so far and left. */
  private static final class Clock {
    private final long start = System.nanoTime();
    private final int all;
    private long firstStep;
    private int before;
    private int done;

    Clock(int all) {
      this.all = all;
    }

    /** An expert's steps that were taken before this run. */
    void resumeAt(int steps) {
      before += steps;
    }

    /** A step is done; returns the seconds left. */
    double step() {
      long now = System.nanoTime();
      if (done == 0) {
        firstStep = now;
      }
      done++;
      double perStep = done == 1 ? seconds() : (now - firstStep) / 1e9 / (done - 1);
      return perStep * Math.max(0, all - before - done);
    }

    double seconds() {
      return (System.nanoTime() - start) / 1e9;
    }
  }
}
