package org.glance4j.train;

import java.util.List;
import java.util.SplittableRandom;
import org.bytedeco.pytorch.Tensor;

/**
 * Examples of {@link TrainingTarget#ON_POLICY}: those of {@link TrainingTarget#CHORD} at first,
 * then from where the student, with the adapter as it stands, arrives on its own way.
 */
final class OnPolicyExamples implements ExampleSource {
  private final List<TeacherPath> paths;
  private final ChordExamples chords;
  private final Student student;
  private final PhaseSteps steps;
  private final int begin;
  private final long seed;

  /**
   * @param begin the training step from which on the student walks by itself
   */
  OnPolicyExamples(
      List<TeacherPath> paths,
      ChordExamples chords,
      Student student,
      PhaseSteps steps,
      int begin,
      long seed) {
    this.paths = paths;
    this.chords = chords;
    this.student = student;
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
    int path = random.nextInt(paths.size());
    int chosen = steps.first() + random.nextInt(steps.count());
    Tensor latents = student.walk(paths.get(path), student.start(path), chosen, adapter);
    return chords.from(paths.get(path), chosen, latents);
  }
}
