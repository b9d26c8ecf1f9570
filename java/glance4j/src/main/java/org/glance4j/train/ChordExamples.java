package org.glance4j.train;

import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Conditioning;
import org.glance4j.schedule.Step;
import org.jspecify.annotations.Nullable;

/**
 * Examples of {@link TrainingTarget#CHORD}: from a point of a teacher's path straight to its next
 * point. Path and step of the phase are drawn uniformly; losses are weighted by the squared length
 * of the step, as the error that they leave in the latents is.
 */
final class ChordExamples implements ExampleSource {
  private final List<TeacherPath> paths;
  private final @Nullable Conditioning negative;
  private final PhaseSteps steps;
  private final long seed;
  private final double meanSquaredLength;

  /**
   * @param negative for predictions with CFG, otherwise null
   * @param steps of the phase that is trained
   */
  ChordExamples(
      List<TeacherPath> paths, @Nullable Conditioning negative, PhaseSteps steps, long seed) {
    this.paths = paths;
    this.negative = negative;
    this.steps = steps;
    this.seed = seed;
    this.meanSquaredLength =
        IntStream.range(0, steps.count())
            .mapToDouble(i -> (double) steps.get(i).dt() * steps.get(i).dt())
            .average()
            .orElseThrow();
  }

  @Override
  public Example at(int step, int index, TrainableAdapter adapter) {
    SplittableRandom random = Draws.at(seed, step, index);
    TeacherPath path = paths.get(random.nextInt(paths.size()));
    int chosen = steps.first() + random.nextInt(steps.count());
    return from(path, chosen, path.points().get(chosen));
  }

  /** What an error of the velocity means for the latents: the step's length, squared. */
  private double weight(Step step) {
    return step.dt() * step.dt() / meanSquaredLength;
  }

  /** The example of step {@code chosen} of the schedule that stands at {@code latents}. */
  Example from(TeacherPath path, int chosen, Tensor latents) {
    Step step = steps.schedule().steps().get(chosen);
    Tensor chord = latents.sub(path.points().get(chosen + 1)).div(new Scalar(-step.dt()));
    return new Example(path.prompt(), negative, step, latents, chord, weight(step));
  }
}
