package org.glance4j.train;

import java.util.SplittableRandom;
import org.bytedeco.pytorch.Tensor;

/**
 * Examples of {@link TrainingTarget#ON_POLICY}: those of {@link TrainingTarget#CHORD} at first,
 * then from where the student, with the adapter as it stands, arrives on its own way.
 */
final class OnPolicyExamples implements ExampleSource {
  private final StudentPaths student;
  private final ChordExamples chords;
  private final PhaseSteps steps;
  private final int begin;
  private final long seed;

  /**
   * @param begin the training step from which on the student walks by itself
   */
  OnPolicyExamples(
      StudentPaths student, ChordExamples chords, PhaseSteps steps, int begin, long seed) {
    this.student = student;
    this.chords = chords;
    this.steps = steps;
    this.begin = begin;
    this.seed = seed;
  }

  @Override
  public Example at(int step, int index, TrainableAdapter adapter) {
    if (step < begin) {
      return chords.at(step, index, adapter);
    }
    SplittableRandom random = Draws.at(seed, step, index);
    int path = random.nextInt(student.teacher().size());
    int chosen = steps.first() + random.nextInt(steps.count());
    Tensor latents = student.walk(path, steps, chosen, adapter);
    return chords.from(student.teacher().get(path), chosen, latents);
  }
}
