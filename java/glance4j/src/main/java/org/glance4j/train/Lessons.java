package org.glance4j.train;

import java.awt.image.BufferedImage;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.FlowStep;
import org.glance4j.model.Conditioning;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.model.PictureLatents;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.ScheduleSpec;
import org.glance4j.schedule.Step;
import org.jspecify.annotations.Nullable;

/**
 * What is computed once for a training: the captions' encodings, and the picture's latents, the
 * teacher's paths, or both. For one thread.
 */
final class Lessons implements AutoCloseable {
  /** Steps of the base model's own trajectory. */
  private static final int TEACHER_STEPS = 50;

  /** Which share of its steps an on-policy training begins with plain chords. */
  private static final double OFF_POLICY_SHARE = 1.0 / 3;

  /** Where the seeds of the paths are drawn, far from those of the training's steps. */
  private static final int TAUGHT = Integer.MAX_VALUE;

  private static final int UNSEEN = Integer.MAX_VALUE - 1;

  private final ImageModel model;
  private final OneSampleTrainer trainer;
  private final TrainingRecipe recipe;
  private final ImageSize size;
  private final Schedule schedule;
  private final Backend backend;
  private final FlowStep flowStep;
  private final List<Conditioning> encoded = new ArrayList<>();
  private final @Nullable Conditioning negative;
  private final @Nullable PictureLatents picture;

  /** The student beside the teacher's paths that are learnt from. */
  private final StudentPaths taught;

  /** The same of captions that are not learnt from. */
  private final StudentPaths validation;

  private final int pathsToWalk;
  private int pathsWalked;

  Lessons(
      ImageModel model,
      OneSampleTrainer trainer,
      ImageSize size,
      Schedule schedule,
      @Nullable BufferedImage pixels) {
    this.model = model;
    this.trainer = trainer;
    this.recipe = trainer.recipe();
    this.size = size;
    this.schedule = schedule;
    this.backend = trainer.backend().resolve();
    this.flowStep = FlowStep.on(backend, FlowStep.Rounding.ONCE);
    try (PointerScope scope = new PointerScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      trainer.captions().forEach(caption -> encoded.add(encode(caption)));
      trainer.validationCaptions().forEach(caption -> encoded.add(encode(caption)));
      negative = recipe.cfg() > 1 ? encode(model.emptyPrompt()) : null;
      if (negative != null) {
        encoded.add(negative);
      }
      picture = pixels == null ? null : model.encode(TrainingPicture.pixels(pixels));
    }
    int seen = trainer.captions().size();
    int unseen = trainer.validationCaptions().size();
    this.pathsToWalk = (picture == null ? seen * recipe.noises() : 0) + unseen;
    this.taught = walk(encoded.subList(0, seen), pathsToWalk - unseen, TAUGHT);
    this.validation = walk(encoded.subList(seen, seen + unseen), unseen, UNSEEN);
  }

  private Conditioning encode(String text) {
    return model.encode(text, model.defaultTextTokens());
  }

  /** Lets the base model walk {@code count} paths, the captions in turns. */
  private StudentPaths walk(List<Conditioning> captions, int count, int place) {
    Sampler teacher = sampler(recipe.cfg());
    List<Step> steps =
        ScheduleSpec.base(TEACHER_STEPS)
            .resolve(model.sigmaShift(), model.imageTokens(size))
            .steps();
    float[] sigmas = sigmas(schedule.steps());
    List<TeacherPath> paths = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      trainer.checkCancelled();
      try (PointerScope scope = new PointerScope()) {
        long seed = Draws.at(recipe.seed(), place, i).nextLong();
        Conditioning caption = captions.get(i % captions.size());
        paths.add(TeacherPath.walk(teacher, caption, steps, sigmas, model.noise(seed, size)));
      }
      pathsWalked++;
      TrainingListener listener = trainer.listener();
      if (listener != null) {
        listener.onTrajectory(pathsWalked, pathsToWalk);
      }
    }
    return new StudentPaths(sampler(recipe.sampledCfg()), paths);
  }

  /** Where the steps begin, and where the last one ends. */
  private static float[] sigmas(List<Step> steps) {
    float[] sigmas = new float[steps.size() + 1];
    for (int i = 0; i < steps.size(); i++) {
      sigmas[i] = steps.get(i).sigma();
      sigmas[i + 1] = steps.get(i).nextSigma();
    }
    return sigmas;
  }

  private Sampler sampler(double cfg) {
    return new Sampler(
        model, size, flowStep, recipe.guidance(), cfg > 1 ? negative : null, model.cfg(cfg));
  }

  /** Where {@code role}'s examples come from. */
  ExampleSource source(ExpertRole role) {
    PhaseSteps steps = PhaseSteps.of(schedule, role.phases());
    long seed = Draws.at(recipe.seed(), role.index(), 1).nextLong();
    if (recipe.target() == TrainingTarget.FLOW) {
      PictureLatents latents = Objects.requireNonNull(picture);
      return new FlowExamples(model, size, encoded.get(0), latents, steps, seed);
    }
    Conditioning other = recipe.studentCfg() > 1 ? negative : null;
    ChordExamples chords = new ChordExamples(taught.teacher(), other, steps, seed);
    if (recipe.target() != TrainingTarget.ON_POLICY) {
      return chords;
    }
    int begin = (int) Math.ceil(OFF_POLICY_SHARE * recipe.steps());
    return new OnPolicyExamples(taught, chords, steps, begin, seed);
  }

  /** What keeps {@code role}'s best adapter; null if there are no captions to validate on. */
  @Nullable Validation validation(ExpertRole role, TrainableAdapter adapter) {
    PhaseSteps steps = PhaseSteps.of(schedule, role.phases());
    return validation.isEmpty()
        ? null
        : new Validation(adapter, current -> validation.error(steps, current), recipe.steps());
  }

  /** {@code role}'s expert is trained: from here on the student arrives where it leads. */
  void finished(ExpertRole role, TrainableAdapter adapter) {
    PhaseSteps steps = PhaseSteps.of(schedule, role.phases());
    if (steps.end() == schedule.size()) {
      return; // No phase comes after it.
    }
    if (recipe.target() == TrainingTarget.ON_POLICY) {
      taught.advance(steps, adapter);
    }
    validation.advance(steps, adapter);
  }

  ImageSize size() {
    return size;
  }

  Backend backend() {
    return backend;
  }

  @Override
  public void close() {
    encoded.forEach(Conditioning::close);
    taught.close();
    validation.close();
    if (picture != null) {
      picture.close();
    }
  }
}
