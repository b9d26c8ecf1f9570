package org.glance4j.train;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.schedule.Step;

/**
 * The student beside the teacher: from the same noises, phase after phase, each from where the
 * phase before has led. For one thread.
 */
final class StudentPaths implements AutoCloseable {
  private final Sampler sampler;
  private final List<TeacherPath> teacher;

  /** Where the student begins its phase, beside each of the teacher's paths. */
  private final List<Tensor> starts = new ArrayList<>();

  /**
   * @param sampler with the CFG that the adapters are sampled with
   * @param teacher from now on closed with these
   */
  StudentPaths(Sampler sampler, List<TeacherPath> teacher) {
    this.sampler = sampler;
    this.teacher = List.copyOf(teacher);
    teacher.forEach(path -> starts.add(path.points().get(0)));
  }

  boolean isEmpty() {
    return teacher.isEmpty();
  }

  List<TeacherPath> teacher() {
    return teacher;
  }

  /**
   * Walks beside path {@code index} until before step {@code end} of the schedule.
   *
   * @return new latents of the caller's scope
   */
  Tensor walk(int index, PhaseSteps steps, int end, TrainableAdapter adapter) {
    List<Step> walked = steps.schedule().steps().subList(steps.first(), end);
    try (NoGradGuard noGrad = new NoGradGuard()) {
      Tensor latents = starts.get(index).clone();
      sampler.walk(
          teacher.get(index).prompt(),
          latents,
          walked,
          adapter.mixes(),
          (step, taken, at, velocity) -> {});
      return latents;
    }
  }

  /**
   * How far from the teacher the student ends its phase: the root mean square of the latents'
   * difference, its geometric mean over the paths, so that each counts by how much better it gets,
   * not one that leads elsewhere alone.
   */
  double error(PhaseSteps steps, TrainableAdapter adapter) {
    double logs = 0;
    for (int i = 0; i < teacher.size(); i++) {
      try (PointerScope scope = new PointerScope()) {
        Tensor wanted = teacher.get(i).points().get(steps.end());
        Tensor end = walk(i, steps, steps.end(), adapter);
        logs += Math.log(end.sub(wanted).square().mean().item_double()) / 2;
      }
    }
    return Math.exp(logs / teacher.size());
  }

  /** The phase's expert is trained: the next phase begins where it leads. */
  void advance(PhaseSteps steps, TrainableAdapter adapter) {
    for (int i = 0; i < teacher.size(); i++) {
      try (PointerScope scope = new PointerScope()) {
        starts.set(i, walk(i, steps, steps.end(), adapter).retainReference());
      }
    }
  }

  @Override
  public void close() {
    starts.forEach(Tensor::close);
    teacher.forEach(TeacherPath::close);
  }
}
