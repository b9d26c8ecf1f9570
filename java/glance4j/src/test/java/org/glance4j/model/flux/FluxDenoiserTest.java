package org.glance4j.model.flux;

import java.nio.file.Path;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.ImageSize;
import org.glance4j.model.dit.DenoiserAssert;
import org.glance4j.model.dit.PackedLatents;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class FluxDenoiserTest {
  private static final Path MODEL =
      Path.of("../glance4j-tiny/src/main/resources/org/glance4j/glance-tiny/transformer");
  private static final int TEXT_TOKENS = 5;

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
                DenoiserAssert.SCHEDULE,
                Map.of());
        Tensor latents = backend.place(size.pack(size.noise(7, 1)));
        FluxDenoiser denoiser = new FluxDenoiser(transformer, task, size);
        DenoiserAssert.assertSelectedStepIsThatStep(backend, task, denoiser, latents);
        if (cfg) {
          DenoiserAssert.assertUnguidedStepIsThePrompts(denoiser, latents);
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
