package org.glance4j.model.flux;

import static org.glance4j.reference.TensorAssert.assertExact;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.ImageSize;
import org.glance4j.model.StepTable;
import org.glance4j.model.Velocity;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.Step;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class FluxDenoiserTest {
  private static final Path MODEL =
      Path.of("../glance4j-tiny/src/main/resources/org/glance4j/glance-tiny/transformer");
  private static final int TEXT_TOKENS = 5;

  private static final Schedule SCHEDULE =
      new Schedule(
          "test",
          List.of(
              new Step(Phase.SLOW, 1000, 1, 0.75f),
              new Step(Phase.BASE, 750, 0.75f, 0.5f),
              new Step(Phase.SLOW, 500, 0.5f, 0)));

  /** What a recorded step computes from device memory is what each step computes by itself. */
  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void aSelectedStepIsThatStep(Backend backend) {
    NativeRuntime.initialize();
    try (FluxTransformer transformer = FluxTransformer.open(MODEL, ScalarType.Float, backend);
        InferenceMode inference = new InferenceMode(true);
        PointerScope scope = new PointerScope()) {
      PackedLatents size = new PackedLatents(transformer.config().latentChannels(), 8, 8);
      for (boolean cfg : new boolean[] {false, true}) {
        DenoiseTask task =
            new DenoiseTask(
                text(transformer),
                cfg ? text(transformer) : null,
                new ImageSize(64, 64),
                3.5,
                SCHEDULE,
                Map.of());
        Denoiser denoiser = new FluxDenoiser(transformer, task, size);
        StepTable table = new StepTable(backend, task, 1);
        Denoiser.Selected selected = denoiser.selected(table);
        Tensor latents = backend.place(size.pack(size.noise(7, 1)));
        for (int i : new int[] {1, 2, 0}) {
          table.select(i);
          Velocity expected = denoiser.velocity(i, latents);
          Velocity actual = selected.velocity(latents);
          assertExact("step " + i, expected.positive(), actual.positive());
          if (cfg) {
            assertExact(
                "step " + i + ", negative",
                Objects.requireNonNull(expected.negative()),
                Objects.requireNonNull(actual.negative()));
          }
        }
      }
    }
  }

  private static FluxConditioning text(FluxTransformer transformer) {
    return new FluxConditioning(
        transformer.place(torch.randn(1, TEXT_TOKENS, transformer.config().contextDim())),
        transformer.place(torch.randn(1, transformer.config().pooledDim())),
        null);
  }
}
