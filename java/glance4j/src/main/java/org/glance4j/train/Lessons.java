package org.glance4j.train;

import java.awt.image.BufferedImage;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
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
 * What is computed once for a training: the captions' encodings, and the picture's latents or the
 * teacher's paths. For one thread.
 */
final class Lessons implements AutoCloseable {
  /** Steps of the base model's own trajectory. */
  private static final int TEACHER_STEPS = 50;

  /** Which share of its steps an on-policy training begins with plain chords. */
  private static final double OFF_POLICY_SHARE = 1.0 / 3;

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
  private final List<TeacherPath> paths = new ArrayList<>();

  /** Where the student begins its phase, on each path. */
  private final List<Tensor> starts = new ArrayList<>();

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
      negative = recipe.cfg() > 1 ? encode(model.emptyPrompt()) : null;
      if (negative != null) {
        encoded.add(negative);
      }
      picture = pixels == null ? null : model.encode(TrainingPicture.pixels(pixels));
    }
    if (picture == null) {
      walkPaths();
    }
  }

  private Conditioning encode(String text) {
    return model.encode(text, model.defaultTextTokens());
  }

  private void walkPaths() {
    Schedule base =
        ScheduleSpec.base(TEACHER_STEPS).resolve(model.sigmaShift(), model.imageTokens(size));
    float[] sigmas = new float[schedule.size() + 1];
    for (int i = 0; i < schedule.size(); i++) {
      Step step = schedule.steps().get(i);
      sigmas[i] = step.sigma();
      sigmas[i + 1] = step.nextSigma();
    }
    int captions = trainer.captions().size();
    for (int i = 0; i < captions * recipe.noises(); i++) {
      trainer.checkCancelled();
      try (PointerScope scope = new PointerScope();
          NoGradGuard noGrad = new NoGradGuard()) {
        long seed = Draws.at(recipe.seed(), Integer.MAX_VALUE, i).nextLong();
        TeacherPath path =
            TeacherPath.walk(
                model,
                size,
                flowStep,
                recipe.guidance(),
                encoded.get(i % captions),
                negative,
                model.cfg(recipe.cfg()),
                base,
                sigmas,
                model.noise(seed, size));
        paths.add(path);
        starts.add(path.points().get(0));
      }
      TrainingListener listener = trainer.listener();
      if (listener != null) {
        listener.onTrajectory(i + 1, captions * recipe.noises());
      }
    }
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
    ChordExamples chords = new ChordExamples(paths, other, steps, seed);
    if (recipe.target() != TrainingTarget.ON_POLICY) {
      return chords;
    }
    return new OnPolicyExamples(
        paths,
        chords,
        student(steps),
        steps,
        (int) Math.ceil(OFF_POLICY_SHARE * recipe.steps()),
        seed);
  }

  private Student student(PhaseSteps steps) {
    double cfg = recipe.studentCfg();
    return new Student(
        model,
        size,
        flowStep,
        recipe.guidance(),
        cfg > 1 ? negative : null,
        model.cfg(cfg),
        steps,
        List.copyOf(starts));
  }

  /** {@code role}'s expert is trained: from here on the student arrives where it leads. */
  void finished(ExpertRole role, TrainableAdapter adapter) {
    if (recipe.target() != TrainingTarget.ON_POLICY) {
      return;
    }
    PhaseSteps steps = PhaseSteps.of(schedule, role.phases());
    Student student = student(steps);
    for (int i = 0; i < paths.size(); i++) {
      try (PointerScope scope = new PointerScope()) {
        Tensor end =
            student.walk(paths.get(i), starts.get(i), steps.first() + steps.count(), adapter);
        starts.set(i, end.retainReference());
      }
    }
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
    paths.forEach(TeacherPath::close);
    starts.forEach(Tensor::close);
    if (picture != null) {
      picture.close();
    }
  }
}
