package org.glance4j.train;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Conditioning;
import org.glance4j.schedule.Step;

/**
 * The base model's own trajectory from one noise, and where it is at the noise levels that a
 * student stops at.
 *
 * @param prompt what it draws
 * @param points latents at each of the student's sigmas, the last one 0; f32 [1, tokens, channels]
 */
record TeacherPath(Conditioning prompt, List<Tensor> points) implements AutoCloseable {
  /** Copies the list. */
  TeacherPath {
    points = List.copyOf(points);
  }

  /**
   * Walks the base model's schedule. Its Euler steps are straight lines in sigma, so a point
   * between two of its own sigmas lies on the line between them.
   *
   * @param sampler with the teacher's CFG
   * @param teacher the base model's steps
   * @param student sigmas in decreasing order, ending in 0
   * @param noise where to start; changed
   */
  static TeacherPath walk(
      Sampler sampler, Conditioning prompt, List<Step> teacher, float[] student, Tensor noise) {
    List<Tensor> points = new ArrayList<>();
    try (PointerScope scope = new PointerScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      sampler.walk(
          prompt,
          noise,
          teacher,
          Map.of(),
          (index, step, latents, velocity) -> {
            while (points.size() < student.length && student[points.size()] > step.nextSigma()) {
              points.add(along(step, latents, velocity, student[points.size()]).retainReference());
            }
          });
      while (points.size() < student.length) {
        points.add(noise.clone().retainReference());
      }
    }
    return new TeacherPath(prompt, points);
  }

  private static Tensor along(Step step, Tensor latents, Tensor velocity, float sigma) {
    return latents.add(velocity, new Scalar(sigma - step.sigma()));
  }

  @Override
  public void close() {
    points.forEach(Tensor::close);
  }
}
