package org.glance4j.model.qwen;

import static java.util.Objects.requireNonNull;
import static org.glance4j.reference.TensorAssert.assertClose;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.Cfg;
import org.glance4j.kernel.FlowStep;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.ImageSize;
import org.glance4j.model.TestAdapters;
import org.glance4j.model.Velocity;
import org.glance4j.model.dit.DenoiserAssert;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.Step;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class QwenDenoiserTest {
  private static final Path MODEL = Reference.path("qwen-image-tiny-random/transformer");
  private static final int TEXT_TOKENS = 5;

  private static QwenTransformer open(Backend backend) {
    assumeTrue(Files.isDirectory(MODEL), "no Qwen-Image in this reference folder");
    NativeRuntime.initialize();
    return QwenTransformer.open(MODEL, ScalarType.Float, backend);
  }

  private static PackedLatents size(QwenTransformer transformer) {
    return new PackedLatents(transformer.config().latentChannels(), 8, 6);
  }

  private static QwenConditioning text(QwenTransformer transformer, int tokens) {
    return new QwenConditioning(
        transformer.place(torch.randn(1, tokens, transformer.config().contextDim())), null);
  }

  private static DenoiseTask task(QwenConditioning positive, @Nullable QwenConditioning negative) {
    return new DenoiseTask(
        positive, negative, new ImageSize(48, 64), 1, DenoiserAssert.SCHEDULE, Map.of());
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void aSelectedStepIsThatStep(Backend backend) {
    try (QwenTransformer transformer = open(backend);
        InferenceMode inference = new InferenceMode(true);
        PointerScope scope = new PointerScope()) {
      PackedLatents size = size(transformer);
      Tensor latents = backend.place(size.pack(size.noise(7, 1)));
      for (int negativeTokens : new int[] {0, TEXT_TOKENS, TEXT_TOKENS - 2, TEXT_TOKENS + 3}) {
        DenoiseTask task =
            task(
                text(transformer, TEXT_TOKENS),
                negativeTokens == 0 ? null : text(transformer, negativeTokens));
        QwenDenoiser denoiser = new QwenDenoiser(transformer, task, size);
        DenoiserAssert.assertSelectedStepIsThatStep(backend, task, denoiser, latents);
        if (negativeTokens > 0) {
          DenoiserAssert.assertUnguidedStepIsThePrompts(denoiser, latents);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void promptsOfTwoLengthsAreAsIfEvaluatedApart(Backend backend) {
    try (QwenTransformer transformer = open(backend);
        InferenceMode inference = new InferenceMode(true);
        PointerScope scope = new PointerScope()) {
      PackedLatents size = size(transformer);
      Tensor latents = backend.place(size.pack(size.noise(7, 1)));
      for (int tokens : new int[] {1, TEXT_TOKENS, TEXT_TOKENS + 3}) {
        QwenConditioning positive = text(transformer, TEXT_TOKENS);
        QwenConditioning negative = text(transformer, tokens);
        Denoiser both = new QwenDenoiser(transformer, task(positive, negative), size);
        Denoiser onlyPositive = new QwenDenoiser(transformer, task(positive, null), size);
        Denoiser onlyNegative = new QwenDenoiser(transformer, task(negative, null), size);
        for (int step = 0; step < DenoiserAssert.SCHEDULE.size(); step++) {
          Velocity velocity = both.velocity(step, latents);
          assertClose(
              "positive",
              onlyPositive.velocity(step, latents).positive(),
              velocity.positive(),
              1e-5);
          assertClose(
              "negative",
              onlyNegative.velocity(step, latents).positive(),
              requireNonNull(velocity.negative()),
              1e-5);
        }
      }
    }
  }

  /** Ten steps with the reference's prompts, noise levels and adapters. */
  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void latentsOfEveryStepAreTheReferences(Backend backend) {
    assumeTrue(Reference.hasGoldens("glance_qwen"));
    try (QwenTransformer transformer = open(backend);
        Goldens goldens = Reference.goldens("glance_qwen");
        LoraAdapter slow = TestAdapters.load("qwen", "slow");
        LoraAdapter fast = TestAdapters.load("qwen", "fast");
        InferenceMode inference = new InferenceMode(true);
        PointerScope scope = new PointerScope()) {
      List<Step> steps = steps(goldens);
      int height = goldens.entry().get("height").intValue();
      int width = goldens.entry().get("width").intValue();
      DenoiseTask task =
          new DenoiseTask(
              conditioning(goldens, "prompt_embeds", backend),
              conditioning(goldens, "negative_prompt_embeds", backend),
              new ImageSize(width, height),
              1,
              new Schedule("consistent", steps),
              Map.of(Phase.SLOW, AdapterMix.of(slow), Phase.FAST, AdapterMix.of(fast)));
      PackedLatents size =
          PackedLatents.forImage(transformer.config().latentChannels(), 8, height, width);
      Denoiser denoiser = new QwenDenoiser(transformer, task, size);
      Cfg cfg = Cfg.rescaled(goldens.entry().get("true_cfg_scale").floatValue());
      Tensor latents = backend.place(goldens.get("init_latents_packed").clone());
      FlowStep update = FlowStep.on(backend, FlowStep.Rounding.EACH_OPERATION);
      for (int i = 0; i < steps.size(); i++) {
        Step step = steps.get(i);
        Velocity velocity = denoiser.velocity(i, latents);
        update.update(
            latents,
            velocity.positive(),
            requireNonNull(velocity.negative()),
            cfg,
            step.sigma(),
            step.nextSigma(),
            null);
        assertClose("step " + i, goldens.get(name(steps, i)), latents, 3e-5);
      }
    }
  }

  private static String name(List<Step> steps, int index) {
    Phase phase = steps.get(index).phase();
    long before = steps.subList(0, index).stream().filter(s -> s.phase() == phase).count();
    String name = phase == Phase.SLOW ? "slow" : "fast";
    return "consistent." + name + ".latents_after_step" + before;
  }

  private static QwenConditioning conditioning(Goldens goldens, String name, Backend backend) {
    return new QwenConditioning(backend.place(goldens.get(name)), null);
  }

  private static List<Step> steps(Goldens goldens) {
    long slow =
        goldens.names().stream()
            .filter(name -> name.startsWith("consistent.slow.latents_after"))
            .count();
    List<Step> steps = new ArrayList<>();
    for (long i = 0; i < goldens.get("consistent.timesteps").size(0); i++) {
      steps.add(
          new Step(
              i < slow ? Phase.SLOW : Phase.FAST,
              value(goldens, "timesteps", i),
              value(goldens, "sigma_from", i),
              value(goldens, "sigma_to", i)));
    }
    return steps;
  }

  private static float value(Goldens goldens, String name, long index) {
    return goldens.get("consistent." + name).select(0, index).item_float();
  }
}
