package org.glance4j.model.flux;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.kernel.TestBackends;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraPair;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.ImageSize;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.reference.Reference;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.Step;
import org.glance4j.weights.ProcessMemory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Gradients of the whole transformer, opened for training, against LibTorch's own. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class FluxTrainingTest {
  private static final int TEXT_TOKENS = 5;

  /** What the published recipe adapts. */
  private static final List<String> RECIPE =
      List.of(
          "transformer_blocks.0.attn.to_q",
          "transformer_blocks.0.attn.to_k",
          "transformer_blocks.1.attn.to_v",
          "transformer_blocks.1.attn.to_out.0",
          "single_transformer_blocks.0.attn.to_q",
          "single_transformer_blocks.1.attn.to_v");

  /** One linear of each kind: gradients then reach every part of the model. */
  private static final List<String> ALL_KINDS =
      List.of(
          "x_embedder",
          "context_embedder",
          "time_text_embed.timestep_embedder.linear_1",
          "time_text_embed.text_embedder.linear_2",
          "transformer_blocks.0.norm1.linear",
          "transformer_blocks.0.attn.to_q",
          "transformer_blocks.0.attn.add_k_proj",
          "transformer_blocks.0.attn.to_add_out",
          "transformer_blocks.0.ff.net.0.proj",
          "transformer_blocks.1.ff_context.net.2",
          "single_transformer_blocks.0.norm.linear",
          "single_transformer_blocks.0.attn.to_k",
          "single_transformer_blocks.0.proj_mlp",
          "single_transformer_blocks.1.proj_out",
          "norm_out.linear",
          "proj_out");

  /** One linear of each kind whose gradients the blocks compute by themselves. */
  private static final List<String> IN_BLOCKS =
      ALL_KINDS.stream()
          .filter(name -> name.contains(".attn.") || name.contains("ff") || name.contains("proj"))
          .toList();

  /** Nothing is computed back beyond the first block that is trained. */
  private static final List<String> LAST_BLOCK =
      List.of("single_transformer_blocks.1.attn.to_q", "single_transformer_blocks.1.proj_out");

  /** One batch of inputs, in the model's type. */
  private record Inputs(
      Tensor latents,
      Tensor embeds,
      Tensor pooled,
      Tensor timestep,
      Tensor guidance,
      Tensor target) {
    static Inputs random(FluxTransformer model, PackedLatents size, int batch) {
      FluxConfig config = model.config();
      torch.manual_seed(21);
      Tensor latents = torch.randn(batch, size.tokens(), config.inChannels());
      return new Inputs(
          model.place(latents),
          model.place(torch.randn(batch, TEXT_TOKENS, config.contextDim())),
          model.place(torch.randn(batch, config.pooledDim())),
          model.place(torch.rand(batch)),
          model.place(torch.ones(batch)),
          model.place(torch.randn(batch, size.tokens(), config.inChannels())));
    }
  }

  private static <T> T of(Map<String, T> map, String name) {
    return Objects.requireNonNull(map.get(name), name);
  }

  private static PackedLatents size(FluxTransformer model) {
    return new PackedLatents(model.config().latentChannels(), 4, 6);
  }

  private static FluxTransformer open(Backend backend, ScalarType dtype, boolean checkpointing) {
    NativeRuntime.initialize();
    return FluxTransformer.openForTraining(
        Reference.path("flux-tiny-random/transformer"), dtype, backend, checkpointing);
  }

  /** Leaves with the same values in every model. */
  private static LoraAdapter adapter(
      FluxTransformer model, List<String> linears, double upSize, int seed) {
    torch.manual_seed(seed);
    Map<String, LoraPair> pairs = new LinkedHashMap<>();
    for (String name : linears) {
      LinearShape shape = of(model.linears(), name);
      Tensor down = torch.randn(3, shape.inFeatures()).mul(new Scalar(0.3));
      Tensor up = torch.randn(shape.outFeatures(), 3).mul(new Scalar(upSize));
      pairs.put(name, new LoraPair(leaf(model, down), leaf(model, up), 1.5));
    }
    return new LoraAdapter("adapter " + seed, pairs);
  }

  private static Tensor leaf(FluxTransformer model, Tensor values) {
    Tensor leaf = model.place(values.to(model.dtype())).detach();
    leaf.set_requires_grad(true);
    return leaf;
  }

  private static Tensor loss(FluxTransformer model, Inputs inputs, AdapterMix mix) {
    Tensor velocity =
        model.forward(
            inputs.latents(),
            inputs.embeds(),
            inputs.pooled(),
            inputs.timestep(),
            model.config().guidanceEmbeds() ? inputs.guidance() : null,
            model.rope(TEXT_TOKENS, size(model)),
            mix);
    return torch.mse_loss(velocity.to(ScalarType.Float), inputs.target());
  }

  private static Map<String, Tensor> gradients(
      FluxTransformer model, List<String> linears, int batch) {
    LoraAdapter adapter = adapter(model, linears, 0.2, 31);
    LoraAdapter second = adapter(model, linears.subList(0, 2), 0.2, 32);
    AdapterMix mix =
        new AdapterMix(List.of(new AdapterMix.Part(adapter, 1), new AdapterMix.Part(second, -0.5)));
    Tensor loss = loss(model, Inputs.random(model, size(model), batch), mix);
    loss.backward();
    Map<String, Tensor> gradients = new LinkedHashMap<>();
    gradients.put("loss", loss.detach());
    put(gradients, adapter);
    put(gradients, second);
    return gradients;
  }

  private static void put(Map<String, Tensor> gradients, LoraAdapter adapter) {
    adapter
        .pairs()
        .forEach(
            (name, pair) -> {
              String prefix = adapter.name() + " " + name;
              gradients.put(prefix + ".A", pair.down().grad());
              gradients.put(prefix + ".B", pair.up().grad());
            });
  }

  static Stream<Arguments> cases() {
    return TestBackends.all().stream()
        .flatMap(
            backend ->
                Stream.of(RECIPE, ALL_KINDS, IN_BLOCKS, LAST_BLOCK)
                    .flatMap(
                        linears ->
                            Stream.of(
                                Arguments.of(backend, linears, 1, false),
                                Arguments.of(backend, linears, 1, true),
                                Arguments.of(backend, linears, 2, false),
                                Arguments.of(backend, linears, 2, true))));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void gradientsAreLibTorchs(
      Backend backend, List<String> linears, int batch, boolean checkpointing) {
    try (PointerScope scope = new PointerScope();
        FluxTransformer oracle = open(Backend.TORCH, ScalarType.Float, false);
        FluxTransformer model = open(backend, ScalarType.Float, checkpointing)) {
      Map<String, Tensor> expected = gradients(oracle, linears, batch);
      Map<String, Tensor> actual = gradients(model, linears, batch);
      assertEquals(expected.keySet(), actual.keySet());
      expected.forEach(
          (name, value) -> {
            double size = value.abs().max().item_double();
            assertTrue(size > 0, name);
            assertClose(name, value, of(actual, name), 1e-5 * size);
          });
    }
  }

  /** Bit for bit: the second run of a block is the first. */
  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void checkpointingChangesNoBit(Backend backend) {
    try (PointerScope scope = new PointerScope();
        FluxTransformer plain = open(backend, ScalarType.Float, false);
        FluxTransformer checkpointing = open(backend, ScalarType.Float, true)) {
      for (List<String> linears : List.of(RECIPE, ALL_KINDS, IN_BLOCKS)) {
        Map<String, Tensor> expected = gradients(plain, linears, 2);
        Map<String, Tensor> actual = gradients(checkpointing, linears, 2);
        expected.forEach((name, value) -> assertExact(name, value, of(actual, name)));
      }
    }
  }

  /** In f32, so to some digits only; what matters is that no gradient is wrong alike in both. */
  @ParameterizedTest
  @CsvSource({"TORCH, false", "CPU, false", "CPU, true"})
  void gradientsAreFiniteDifferences(Backend backend, boolean checkpointing) {
    try (PointerScope scope = new PointerScope();
        FluxTransformer model = open(backend, ScalarType.Float, checkpointing)) {
      LoraAdapter adapter = adapter(model, ALL_KINDS, 0.2, 31);
      AdapterMix mix = AdapterMix.of(adapter);
      Inputs inputs = Inputs.random(model, size(model), 1);
      Tensor loss = loss(model, inputs, mix);
      double size = loss.item_double();
      loss.backward();
      for (String name : ALL_KINDS) {
        for (Tensor matrix :
            List.of(of(adapter.pairs(), name).down(), of(adapter.pairs(), name).up())) {
          // Along the gradient the loss changes most, so that rounding matters least.
          Tensor gradient = matrix.grad();
          double norm = gradient.norm().item_double();
          Tensor direction = gradient.div(new Scalar(norm));
          double step = Math.min(1e-3 * size / norm, 0.01 * matrix.norm().item_double());
          double slope =
              (moved(model, inputs, mix, matrix, direction, step)
                      - moved(model, inputs, mix, matrix, direction, -step))
                  / (2 * step);
          assertEquals(norm, slope, 0.01 * norm + 3e-6 * size / step, name);
        }
      }
    }
  }

  private static double moved(
      FluxTransformer model,
      Inputs inputs,
      AdapterMix mix,
      Tensor matrix,
      Tensor direction,
      double step) {
    try (NoGradGuard noGrad = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Tensor before = matrix.clone();
      matrix.add_(direction, new Scalar(step));
      double loss = loss(model, inputs, mix).item_double();
      matrix.copy_(before);
      return loss;
    }
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void gradientsOfTwoPassesAddUp(Backend backend) {
    try (PointerScope scope = new PointerScope();
        FluxTransformer model = open(backend, ScalarType.Float, false)) {
      LoraAdapter adapter = adapter(model, RECIPE, 0.2, 31);
      AdapterMix mix = AdapterMix.of(adapter);
      Inputs inputs = Inputs.random(model, size(model), 1);
      Tensor first = loss(model, inputs, mix);
      Tensor second = loss(model, inputs, mix);
      first.backward();
      Map<String, Tensor> once = new LinkedHashMap<>();
      put(once, adapter);
      once.replaceAll((name, gradient) -> gradient.clone());
      second.backward();
      Map<String, Tensor> twice = new LinkedHashMap<>();
      put(twice, adapter);
      once.forEach((name, value) -> assertExact(name, value.add(value), of(twice, name)));
    }
  }

  /** What does not depend on the latents may have gradients, too, and is then computed anew. */
  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void aDenoiserServesManyPasses(Backend backend) {
    try (PointerScope scope = new PointerScope();
        FluxTransformer model = open(backend, ScalarType.Float, false)) {
      for (List<String> linears : List.of(RECIPE, ALL_KINDS)) {
        LoraAdapter adapter = adapter(model, linears, 0.2, 31);
        AdapterMix mix = AdapterMix.of(adapter);
        Inputs inputs = Inputs.random(model, size(model), 1);
        Denoiser denoiser = denoiser(model, inputs, mix);
        for (int step : new int[] {1, 0, 1}) {
          Map<String, Tensor> expected =
              gradients(denoiser(model, inputs, mix), step, inputs, adapter);
          Map<String, Tensor> actual = gradients(denoiser, step, inputs, adapter);
          expected.forEach((name, value) -> assertClose(name, value, of(actual, name), 1e-6));
          try (NoGradGuard noGrad = new NoGradGuard()) {
            adapter.pairs().values().forEach(pair -> pair.up().mul_(new Scalar(0.9)));
          }
        }
      }
    }
  }

  private static Denoiser denoiser(FluxTransformer model, Inputs inputs, AdapterMix mix) {
    Schedule schedule =
        new Schedule(
            "two steps",
            List.of(new Step(Phase.SLOW, 1000, 1, 0.4f), new Step(Phase.SLOW, 400, 0.4f, 0)));
    FluxConditioning prompt = new FluxConditioning(inputs.embeds(), inputs.pooled(), null);
    DenoiseTask task =
        new DenoiseTask(prompt, null, new ImageSize(96, 64), 1, schedule, Map.of(Phase.SLOW, mix));
    return new FluxDenoiser(model, task, size(model));
  }

  private static Map<String, Tensor> gradients(
      Denoiser denoiser, int step, Inputs inputs, LoraAdapter adapter) {
    torch
        .mse_loss(denoiser.velocity(step, inputs.latents()).positive(), inputs.target())
        .backward();
    Map<String, Tensor> gradients = new LinkedHashMap<>();
    put(gradients, adapter);
    gradients.replaceAll((name, gradient) -> gradient.clone());
    adapter
        .pairs()
        .values()
        .forEach(
            pair -> {
              pair.down().mutable_grad().reset();
              pair.up().mutable_grad().reset();
            });
    return gradients;
  }

  /** How every training begins. */
  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void withoutBOnlyBHasAGradient(Backend backend) {
    try (PointerScope scope = new PointerScope();
        FluxTransformer model = open(backend, ScalarType.Float, true)) {
      LoraAdapter adapter = adapter(model, RECIPE, 0, 31);
      loss(model, Inputs.random(model, size(model), 1), AdapterMix.of(adapter)).backward();
      adapter
          .pairs()
          .forEach(
              (name, pair) -> {
                assertExact(name, torch.zeros_like(pair.down()), pair.down().grad());
                assertTrue(pair.up().grad().norm().item_double() > 0, name);
              });
    }
  }

  /** As close to f32 as LibTorch's own gradients in bf16. */
  @ParameterizedTest
  @CsvSource({"CPU, false", "CPU, true"})
  void bf16IsAsGoodAsLibTorchs(Backend backend, boolean checkpointing) {
    try (PointerScope scope = new PointerScope();
        FluxTransformer exact = open(Backend.TORCH, ScalarType.Float, false);
        FluxTransformer torch16 = open(Backend.TORCH, ScalarType.BFloat16, false);
        FluxTransformer model = open(backend, ScalarType.BFloat16, checkpointing)) {
      Map<String, Tensor> expected = ofLeavesInF32(exact);
      Map<String, Tensor> oracle = ofLeavesInF32(torch16);
      Map<String, Tensor> actual = ofLeavesInF32(model);
      expected.forEach(
          (name, value) -> {
            double norm = value.norm().item_double();
            double expectedError = of(oracle, name).sub(value).norm().item_double();
            double error = of(actual, name).sub(value).norm().item_double();
            assertTrue(
                error < 1.25 * expectedError + 0.01 * norm,
                () ->
                    "%s: off by %g of %g, LibTorch by %g"
                        .formatted(name, error, norm, expectedError));
          });
    }
  }

  /** The gradients of leaves in f32, cast to the model's type, as a trainer keeps them. */
  private static Map<String, Tensor> ofLeavesInF32(FluxTransformer model) {
    Map<String, LoraPair> cast = new LinkedHashMap<>();
    Map<String, Tensor> leaves = new LinkedHashMap<>();
    torch.manual_seed(31);
    for (String name : RECIPE) {
      LinearShape shape = of(model.linears(), name);
      Tensor down = model.place(torch.randn(3, shape.inFeatures()).mul(new Scalar(0.3))).detach();
      Tensor up = model.place(torch.randn(shape.outFeatures(), 3).mul(new Scalar(0.2))).detach();
      down.set_requires_grad(true);
      up.set_requires_grad(true);
      leaves.put(name + ".A", down);
      leaves.put(name + ".B", up);
      cast.put(name, new LoraPair(down.to(model.dtype()), up.to(model.dtype()), 1.5));
    }
    AdapterMix mix = AdapterMix.of(new LoraAdapter("cast", cast));
    loss(model, Inputs.random(model, size(model), 1), mix).backward();
    leaves.replaceAll((name, leaf) -> leaf.grad());
    return leaves;
  }

  @ParameterizedTest
  @CsvSource({"TORCH, false", "CPU, false", "CPU, true"})
  void recordsNothingUnlessSomethingIsTrained(Backend backend, boolean checkpointing) {
    try (PointerScope scope = new PointerScope();
        FluxTransformer model = open(backend, ScalarType.Float, checkpointing)) {
      Inputs inputs = Inputs.random(model, size(model), 1);
      assertFalse(loss(model, inputs, AdapterMix.NONE).requires_grad());
      AdapterMix mix = AdapterMix.of(adapter(model, RECIPE, 0.2, 31));
      Tensor recorded = loss(model, inputs, mix);
      assertTrue(recorded.requires_grad());
      try (NoGradGuard noGrad = new NoGradGuard()) {
        Tensor loss = loss(model, inputs, mix);
        assertFalse(loss.requires_grad());
        assertClose("the same value", recorded, loss, 1e-6);
      }
    }
  }

  /** Hooks and what they hold are gone when their pass is. */
  @Test
  void memoryStaysFlat() {
    try (FluxTransformer model = open(Backend.CPU, ScalarType.Float, false);
        FluxTransformer checkpointing = open(Backend.CPU, ScalarType.Float, true);
        PointerScope scope = new PointerScope()) {
      AdapterMix mix = AdapterMix.of(adapter(model, RECIPE, 0.2, 31));
      Inputs inputs = Inputs.random(model, size(model), 1);
      for (FluxTransformer each : List.of(model, checkpointing)) {
        steps(each, inputs, mix, 150);
        long pointers = pointers();
        long before = nativeBytes();
        long least = Long.MAX_VALUE;
        for (int round = 0; round < 3; round++) {
          steps(each, inputs, mix, 100);
          long morePointers = pointers() - pointers;
          assertTrue(morePointers <= 0, () -> "the steps left " + morePointers + " pointers");
          // Java's compiler takes some 40 MiB now and then, and gives them back.
          least = Math.min(least, nativeBytes());
        }
        long grown = least - before;
        assertTrue(grown < 24 << 20, () -> "300 steps took " + (grown >> 10) + " KiB");
      }
    }
  }

  private static long pointers() {
    System.gc();
    return Pointer.totalCount();
  }

  private static long nativeBytes() {
    return ProcessMemory.residentBytes() - Runtime.getRuntime().totalMemory();
  }

  /** Every fourth pass is given up before its backward pass, as a cancelled one is. */
  private static void steps(FluxTransformer model, Inputs inputs, AdapterMix mix, int count) {
    for (int i = 0; i < count; i++) {
      try (PointerScope scope = new PointerScope()) {
        Tensor loss = loss(model, inputs, mix);
        if (i % 4 != 3) {
          loss.backward();
        }
      }
    }
  }
}
