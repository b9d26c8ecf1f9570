package org.glance4j.model.dit;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.List;
import java.util.Objects;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.Cfg;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.StepTable;
import org.glance4j.model.Velocity;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.Step;

/** What holds of the denoisers of every family. */
public final class DenoiserAssert {
  /** Three steps of two phases. */
  public static final Schedule SCHEDULE =
      new Schedule(
          "test",
          List.of(
              new Step(Phase.SLOW, 1000, 1, 0.75f),
              new Step(Phase.BASE, 750, 0.75f, 0.5f),
              new Step(Phase.SLOW, 500, 0.5f, 0)));

  private DenoiserAssert() {}

  /**
   * A step without guidance costs one evaluation, and is what both prompts' one says of the first.
   */
  public static void assertUnguidedStepIsThePrompts(Denoiser denoiser, Tensor latents) {
    for (int i = 0; i < SCHEDULE.size(); i++) {
      Velocity both = denoiser.velocity(i, latents, Cfg.plain(3.5f));
      Velocity one = denoiser.velocity(i, latents, Cfg.plain(1));
      assertNull(one.negative(), "step " + i);
      assertClose("step " + i, both.positive(), one.positive(), 1e-5);
    }
  }

  /** What a recorded step computes from device memory is what each step computes by itself. */
  public static void assertSelectedStepIsThatStep(
      Backend backend, DenoiseTask task, Denoiser denoiser, Tensor latents) {
    StepTable table = new StepTable(backend, task, 1);
    Denoiser.Selected selected = denoiser.selected(table);
    for (int i : new int[] {1, 2, 0}) {
      table.select(i);
      Velocity expected = denoiser.velocity(i, latents);
      Velocity actual = selected.velocity(latents);
      assertExact("step " + i, expected.positive(), actual.positive());
      if (task.negative() != null) {
        assertExact(
            "step " + i + ", negative",
            Objects.requireNonNull(expected.negative()),
            Objects.requireNonNull(actual.negative()));
      }
    }
  }
}
