package org.glance4j.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.DType;
import org.glance4j.ImageModels;
import org.glance4j.TestFamily;
import org.glance4j.kernel.Backend;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraPair;
import org.glance4j.model.Conditioning;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.model.flux.TestConditioning;
import org.glance4j.model.qwen.TestPrompt;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.PublishedTimesteps;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.ScheduleSpec;
import org.glance4j.schedule.Step;
import org.glance4j.train.Expert.Outcome;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The published recipe against PEFT's training steps in the reference folder. */
class ReferenceTrainingTest {
  private static final double LOSS_TOLERANCE = 1e-5;
  private static final double WEIGHT_TOLERANCE = 2e-5;

  /** The list of timesteps in the authors' code is for this many image tokens. */
  private static final int LIST_TOKENS = 4096;

  /**
   * One weight in ten thousand may be further off: where a gradient is near AdamW's epsilon, the
   * step is as sensitive as its last bits.
   */
  private static final double STRAY_SHARE = 1e-4;

  /** One run of the reference: its examples, and the expert that repeats it. */
  private record Run(String name, Goldens goldens, TrainingRecipe recipe, List<Step> steps) {}

  @ParameterizedTest
  @CsvSource({
    "FLUX, slow, TORCH, false",
    "FLUX, fast, TORCH, false",
    "FLUX, slow_exact_t, TORCH, false",
    "FLUX, slow, CPU, false",
    "FLUX, fast, CPU, false",
    "FLUX, slow, CPU, true",
    "FLUX, fast, CPU, true",
    "QWEN, slow, TORCH, false",
    "QWEN, fast, TORCH, false",
    "QWEN, slow_exact_t, TORCH, false",
    "QWEN, slow, CPU, false",
    "QWEN, fast, CPU, false",
    "QWEN, slow, CPU, true",
    "QWEN, fast, CPU, true"
  })
  void stepsAreTheReferences(
      TestFamily family, String name, Backend backend, boolean checkpointing) {
    assumeTrue(Reference.hasGoldens(family.golden("train")), "no such training in this folder");
    try (Goldens goldens = Reference.goldens(family.golden("train"));
        ImageModel model =
            ImageModels.openForTraining(family.model(), DType.F32, backend, checkpointing, false);
        PointerScope scope = new PointerScope()) {
      JsonNode config = goldens.entry().path("config");
      TrainingRecipe recipe = recipe(config);
      Run run = new Run(name, goldens, recipe, steps(name, config, goldens, model));
      try (TrainableAdapter adapter = adapter(model, recipe, goldens, backend)) {
        repeat(model, run, adapter);
      }
    }
  }

  private static TrainingRecipe recipe(JsonNode config) {
    return TrainingRecipe.builder(TrainingTarget.FLOW)
        .rank(config.path("rank").asInt())
        .alpha(config.path("alpha").asDouble())
        .learningRate(config.path("lr").asDouble())
        .weightDecay(config.path("weight_decay").asDouble())
        .maxGradientNorm(config.path("max_grad_norm").asDouble())
        .guidance(config.path("guidance").asDouble())
        .build();
  }

  /**
   * The steps in the reference's order; their noise levels must be the reference's, bit for bit.
   */
  private static List<Step> steps(String name, JsonNode config, Goldens goldens, ImageModel model) {
    boolean slow = name.startsWith("slow");
    JsonNode order = config.path(slow ? "order_slow" : "order_fast");
    List<Step> steps = new ArrayList<>();
    for (int i = 0; i < order.size(); i++) {
      float sigma = goldens.get(name + ".sigma").select(0, i).item_float();
      float told = goldens.get(name + ".t_in").select(0, i).item_float();
      Phase phase = slow ? Phase.SLOW : Phase.FAST;
      Step step = new Step(phase, told, sigma, 0);
      if (!name.endsWith("_exact_t")) {
        Step ours = PublishedTimesteps.training(published(model, phase, order.get(i).asInt()));
        assertEquals(sigma, ours.sigma(), name + " sigma " + i);
        assertEquals(told, ours.timestep(), name + " timestep " + i);
        step = ours;
      }
      steps.add(step);
    }
    return steps;
  }

  private static Step published(ImageModel model, Phase phase, int index) {
    Schedule schedule = ScheduleSpec.glance().resolve(model.sigmaShift(), LIST_TOKENS);
    return PhaseSteps.of(schedule, List.of(phase)).get(index);
  }

  private static TrainableAdapter adapter(
      ImageModel model, TrainingRecipe recipe, Goldens goldens, Backend backend) {
    Map<String, LinearShape> linears = Adapted.linears(model, recipe);
    List<String> inFile =
        goldens.names().stream()
            .filter(name -> name.startsWith("init."))
            .map(
                name -> name.substring("init.".length(), name.length() - ".lora_A.weight".length()))
            .sorted()
            .toList();
    assertEquals(inFile, List.copyOf(new TreeMap<>(linears).keySet()));
    TrainableAdapter adapter =
        new TrainableAdapter(
            linears, recipe.rank(), recipe.alpha(), ScalarType.Float, 0, backend.resolve());
    try (NoGradGuard noGrad = new NoGradGuard()) {
      adapter
          .trained()
          .pairs()
          .forEach(
              (name, pair) -> pair.down().copy_(goldens.get("init." + name + ".lora_A.weight")));
    }
    return adapter;
  }

  private static void repeat(ImageModel model, Run run, TrainableAdapter adapter) {
    Goldens goldens = run.goldens();
    Conditioning caption = caption(goldens);
    Tensor first = image(goldens, "latents0");
    PackedLatents layout =
        new PackedLatents((int) first.size(1), (int) first.size(2), (int) first.size(3));
    int scale = model.sizeMultiple() / 2;
    ImageSize size = new ImageSize(layout.width() * scale, layout.height() * scale);
    ExampleSource examples =
        (step, index, ignored) ->
            FlowExamples.example(
                caption,
                run.steps().get(step),
                layout.pack(image(goldens, "latents" + step)),
                layout.pack(image(goldens, "noise" + step)));
    Expert expert = new Expert(model, size, run.recipe(), adapter, examples);
    for (int i = 0; i < run.steps().size(); i++) {
      Outcome outcome = expert.step(i);
      String what = run.name() + " step " + (i + 1);
      assertRelative(what + " loss", golden(run, "loss", i), outcome.loss());
      assertRelative(what + " norm", golden(run, "grad_norm", i), outcome.gradientNorm());
      compareWeights(run, i + 1, adapter);
    }
  }

  private static Conditioning caption(Goldens goldens) {
    Tensor embeds = goldens.get("prompt_embeds");
    return goldens.has("pooled_prompt_embeds")
        ? TestConditioning.of(embeds, goldens.get("pooled_prompt_embeds"))
        : TestPrompt.of(embeds);
  }

  /** Latents of an image; those of a video have one frame, before the channels. */
  private static Tensor image(Goldens goldens, String name) {
    Tensor latents = goldens.get(name);
    return latents.dim() == 4 ? latents : latents.squeeze(1);
  }

  private static double golden(Run run, String what, int step) {
    return run.goldens().get(run.name() + "." + what).select(0, step).item_double();
  }

  private static void assertRelative(String what, double expected, double actual) {
    double error = Math.abs(actual - expected) / Math.abs(expected);
    assertTrue(
        error <= LOSS_TOLERANCE, "%s: %.9g, expected %.9g".formatted(what, actual, expected));
  }

  private static void compareWeights(Run run, int step, TrainableAdapter adapter) {
    String prefix = run.name() + ".step" + step + ".";
    if (run.goldens().names().stream().noneMatch(name -> name.startsWith(prefix))) {
      return;
    }
    TensorVector expected = new TensorVector();
    TensorVector actual = new TensorVector();
    for (Map.Entry<String, LoraPair> entry : adapter.trained().pairs().entrySet()) {
      String name = prefix + entry.getKey();
      if (!run.goldens().has(name + ".lora_A.weight")) {
        continue; // Of large models the reference keeps some blocks.
      }
      expected.push_back(run.goldens().get(name + ".lora_A.weight").flatten());
      expected.push_back(run.goldens().get(name + ".lora_B.weight").flatten());
      actual.push_back(entry.getValue().down().detach().flatten());
      actual.push_back(entry.getValue().up().detach().flatten());
    }
    Tensor want = torch.cat(expected, 0).to(ScalarType.Double);
    Tensor difference = torch.cat(actual, 0).to(ScalarType.Double).sub(want);
    double relative = difference.norm().item_double() / want.norm().item_double();
    assertTrue(relative <= WEIGHT_TOLERANCE, "%s: %.3g relative".formatted(prefix, relative));
    Tensor strays = difference.abs().gt(new Scalar(WEIGHT_TOLERANCE));
    double share = strays.sum().item_double() / difference.numel();
    assertTrue(share <= STRAY_SHARE, "%s: %.3g of the weights off".formatted(prefix, share));
    double most = step * run.recipe().learningRate(0);
    double worst = difference.abs().max().item_double();
    assertTrue(worst <= most, "%s: a weight is off by %.3g".formatted(prefix, worst));
  }
}
