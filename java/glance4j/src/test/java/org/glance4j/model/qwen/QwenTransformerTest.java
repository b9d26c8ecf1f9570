package org.glance4j.model.qwen;

import static java.util.Objects.requireNonNull;
import static org.glance4j.reference.ErrorAssert.assertError;
import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.Probe;
import org.glance4j.model.dit.Modulation;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.model.dit.Pass;
import org.glance4j.model.dit.Rope;
import org.glance4j.model.dit.TextPadding;
import org.glance4j.model.dit.TransformerGoldens;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.AfterParameterizedClassInvocation;
import org.junit.jupiter.params.BeforeParameterizedClassInvocation;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** The transformer against {@code goldens/qwen_transformer}: every layer, with and without LoRA. */
@ParameterizedClass
@MethodSource("org.glance4j.kernel.TestBackends#all")
class QwenTransformerTest {
  @Parameter Backend backend;

  private static final double TOLERANCE = TransformerGoldens.TOLERANCE;

  private static Backend where;
  private static TransformerGoldens goldens;
  private static QwenTransformer transformer;

  @BeforeParameterizedClassInvocation
  static void open(Backend backend) {
    where = backend;
    goldens = TransformerGoldens.open("qwen", "qwen-image-tiny-random");
    transformer = QwenTransformer.open(goldens.folder(), ScalarType.Float, backend);
    transformer.check(goldens.slow());
    transformer.check(goldens.fast());
  }

  @AfterParameterizedClassInvocation
  static void close() {
    if (transformer != null) {
      transformer.close();
      goldens.close();
    }
  }

  @TestFactory
  Stream<DynamicTest> everyLayer() {
    Map<String, Tensor> seen = new LinkedHashMap<>();
    seen.put("output", run(transformer, AdapterMix.NONE, TransformerGoldens.recorder(seen)));
    return goldens.compareAll("fwd.", seen, QwenTransformerTest::assertNear);
  }

  @TestFactory
  Stream<DynamicTest> everyBlockWithLora() {
    Map<String, Tensor> seen = new LinkedHashMap<>();
    AdapterMix mix = AdapterMix.of(goldens.slow());
    seen.put("output", run(transformer, mix, TransformerGoldens.recorder(seen)));
    return goldens.compareAll("lora_slow.", seen, QwenTransformerTest::assertNear);
  }

  private static void assertNear(String name, Tensor actual) {
    double largest = goldens.get("in.timestep").max().item_double();
    goldens.assertNear(name, actual, TransformerGoldens.sinusoidNoise(name, largest));
  }

  @Test
  void withoutPaddingAllTextIsAttendedTo() {
    Inputs inputs = Inputs.golden();
    assumeTrue(inputs.padding != null, "no padding in this reference");
    goldens.assertNear(
        "fwd_nomask.output", run(transformer, inputs.withPadding(null), AdapterMix.NONE));
  }

  @TestFactory
  Stream<DynamicTest> outputsWithLora() {
    return goldens.outputsWithLora(mix -> run(transformer, mix, Probe.NONE), this::runMerged);
  }

  private Tensor runMerged(AdapterMix mix) {
    try (QwenTransformer merged =
        QwenTransformer.openMerged(goldens.folder(), ScalarType.Float, backend, mix)) {
      return run(merged, AdapterMix.NONE, Probe.NONE);
    }
  }

  @TestFactory
  Stream<DynamicTest> mergedWeights() {
    return goldens.mergedWeights(transformer.linears());
  }

  /** Not only nearly nothing: what stands in the padding cannot be seen in any bit. */
  @Test
  void paddingChangesNothing() {
    try (PointerScope scope = new PointerScope()) {
      Inputs inputs = Inputs.golden();
      assumeTrue(inputs.padding != null, "no padding in this reference");
      TextPadding padding = requireNonNull(inputs.padding);
      Tensor other = inputs.embeds.clone();
      for (int i = 0; i < padding.lengths().size(); i++) {
        long length = padding.lengths().get(i);
        other.narrow(0, i, 1).narrow(1, length, padding.textTokens() - length).fill_(new Scalar(7));
      }
      assertExact(
          "other padding",
          run(transformer, inputs, AdapterMix.NONE),
          run(transformer, inputs.withEmbeds(other), AdapterMix.NONE));
    }
  }

  /** A padded sample of a batch is what the same sample is alone, without padding. */
  @Test
  void samplesOfABatchAreAsIfAlone() {
    try (PointerScope scope = new PointerScope()) {
      Inputs inputs = Inputs.golden();
      AdapterMix mix = AdapterMix.of(goldens.fast());
      TensorVector alone = new TensorVector();
      for (int i = 0; i < inputs.latents.size(0); i++) {
        alone.push_back(run(transformer, inputs.sample(i), mix));
      }
      assertClose("batch", torch.cat(alone, 0), run(transformer, inputs, mix), TOLERANCE);
    }
  }

  @Test
  void modulationsOfAScheduleEqualThoseOfItsSteps() {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Inputs step = Inputs.golden();
      AdapterMix mix = AdapterMix.of(goldens.slow());
      long batch = step.latents.size(0);
      Tensor earlier = torch.ones_like(step.timestep);
      Modulation schedule =
          transformer.modulation(torch.cat(new TensorVector(earlier, step.timestep), 0), mix);
      Tensor actual =
          transformer.forward(
              step.latents,
              transformer.context(step.embeds, mix),
              schedule.rows(batch, batch),
              step.rope,
              step.padding,
              mix);
      assertClose("second step", run(transformer, step, mix), actual, TOLERANCE);
    }
  }

  @Test
  void theKernelsBitsDoNotDependOnThreads() {
    assumeTrue(backend == Backend.CPU);
    int threads = torch.get_num_threads();
    try {
      NativeRuntime.setThreads(1);
      Tensor one = run(transformer, AdapterMix.NONE, Probe.NONE);
      NativeRuntime.setThreads(2);
      assertExact("on 2 threads", one, run(transformer, AdapterMix.NONE, Probe.NONE));
    } finally {
      NativeRuntime.setThreads(threads);
    }
  }

  @Test
  void bfloat16StaysNearFloat32() {
    try (QwenTransformer half =
            QwenTransformer.open(goldens.folder(), ScalarType.BFloat16, backend);
        PointerScope scope = new PointerScope()) {
      // A noise level that bf16 represents, so low that its rounding of the sinusoids' frequencies,
      // which is the reference's too, does not matter.
      Inputs golden = Inputs.golden();
      Inputs inputs = golden.withTimestep(golden.timestep.clone().fill_(new Scalar(1.0 / 1024)));
      Tensor expected = run(transformer, inputs, AdapterMix.NONE);
      Tensor actual = run(half, inputs, AdapterMix.NONE);
      assertEquals(ScalarType.BFloat16, actual.scalar_type().intern());
      Tensor difference = actual.to(ScalarType.Float).sub(expected);
      double error = difference.norm().item_double() / expected.norm().item_double();
      assertTrue(error < 3e-2, "relative error " + error);
    }
  }

  @Test
  void refusesInputsThatDoNotFit() {
    try (PointerScope scope = new PointerScope()) {
      Inputs good = Inputs.golden();
      assertRefused("latents", good.withLatents(good.latents.narrow(2, 0, 1)));
      assertRefused("rope", good.withLatents(good.latents.narrow(1, 1, good.latents.size(1) - 1)));
      assertRefused("embeds", good.withEmbeds(good.embeds.narrow(2, 0, 1)));
      int tokens = (int) good.embeds.size(1);
      assertRefused("padding", good.withPadding(TextPadding.of(tokens, tokens + 1)));
      assertRefused("padding", good.withPadding(TextPadding.of(1, 1, tokens)));
    }
  }

  private static void assertRefused(String named, Inputs inputs) {
    assertError(
        IllegalArgumentException.class, () -> run(transformer, inputs, AdapterMix.NONE), named);
  }

  @Test
  void closedModelRefuses() {
    QwenTransformer closed = QwenTransformer.open(goldens.folder(), ScalarType.Float, backend);
    closed.close();
    closed.close();
    assertError(
        IllegalStateException.class, () -> run(closed, AdapterMix.NONE, Probe.NONE), "closed");
  }

  private static Tensor run(QwenTransformer model, AdapterMix mix, Probe probe) {
    return run(model, Inputs.golden(), mix, probe);
  }

  private static Tensor run(QwenTransformer model, Inputs inputs, AdapterMix mix) {
    return run(model, inputs, mix, Probe.NONE);
  }

  private static Tensor run(QwenTransformer model, Inputs inputs, AdapterMix mix, Probe probe) {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Pass pass = new Pass(mix, inputs.rope, inputs.padding, probe);
      return model
          .forward(inputs.latents, inputs.embeds, inputs.timestep, pass)
          .clone()
          .retainReference();
    }
  }

  /** The arguments of one forward pass. */
  private record Inputs(
      Tensor latents,
      Tensor embeds,
      Tensor timestep,
      Rope rope,
      PackedLatents size,
      @Nullable TextPadding padding) {
    static Inputs golden() {
      Tensor embeds = goldens.get("in.encoder_hidden_states");
      Tensor mask = goldens.get("in.encoder_hidden_states_mask");
      int[] lengths =
          IntStream.range(0, (int) mask.size(0))
              .map(i -> mask.select(0, i).sum().item_int())
              .toArray();
      PackedLatents size =
          PackedLatents.forImage(
              transformer.config().latentChannels(),
              8,
              goldens.values().entry().get("height").intValue(),
              goldens.values().entry().get("width").intValue());
      return new Inputs(
          where.place(goldens.get("latents_packed")),
          where.place(embeds),
          where.place(goldens.get("in.timestep")),
          transformer.rope((int) embeds.size(1), size),
          size,
          TextPadding.of(lengths));
    }

    Inputs withLatents(Tensor other) {
      return new Inputs(other, embeds, timestep, rope, size, padding);
    }

    Inputs withEmbeds(Tensor other) {
      return new Inputs(latents, other, timestep, rope, size, padding);
    }

    Inputs withTimestep(Tensor other) {
      return new Inputs(latents, embeds, other, rope, size, padding);
    }

    Inputs withPadding(@Nullable TextPadding other) {
      return new Inputs(latents, embeds, timestep, rope, size, other);
    }

    /** One sample without its padding. */
    Inputs sample(int index) {
      int length = padding == null ? (int) embeds.size(1) : padding.lengths().get(index);
      return new Inputs(
          latents.narrow(0, index, 1),
          embeds.narrow(0, index, 1).narrow(1, 0, length),
          timestep.narrow(0, index, 1),
          transformer.rope(length, size),
          size,
          null);
    }
  }
}
