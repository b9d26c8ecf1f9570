package org.glance4j.model.flux;

import static java.util.Objects.requireNonNull;
import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraPair;
import org.glance4j.model.Probe;
import org.glance4j.model.dit.Modulation;
import org.glance4j.model.dit.Pass;
import org.glance4j.model.dit.Rope;
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

/** The transformer against {@code goldens/flux_transformer}: every layer, with and without LoRA. */
@ParameterizedClass
@MethodSource("org.glance4j.kernel.TestBackends#all")
class FluxTransformerTest {
  @Parameter Backend backend;

  private static final double TOLERANCE = TransformerGoldens.TOLERANCE;

  private static Backend where;
  private static TransformerGoldens goldens;
  private static Path folder;
  private static FluxTransformer transformer;
  private static LoraAdapter slow;
  private static LoraAdapter fast;

  @BeforeParameterizedClassInvocation
  static void open(Backend backend) {
    where = backend;
    goldens = TransformerGoldens.open("flux", "flux-tiny-random");
    folder = goldens.folder();
    transformer = FluxTransformer.open(folder, ScalarType.Float, backend);
    slow = goldens.slow();
    fast = goldens.fast();
    transformer.check(slow);
    transformer.check(fast);
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
    seen.put("output", run(transformer, AdapterMix.NONE, recorder(seen)));
    return goldens.compareAll("fwd.", seen, FluxTransformerTest::assertNear);
  }

  @TestFactory
  Stream<DynamicTest> everyBlockWithLora() {
    Map<String, Tensor> seen = new LinkedHashMap<>();
    seen.put("output", run(transformer, AdapterMix.of(slow), recorder(seen)));
    return goldens.compareAll("lora_slow.", seen, FluxTransformerTest::assertNear);
  }

  private static void assertNear(String name, Tensor actual) {
    double largest = goldens.get("in.timestep").max().item_double();
    if (goldens.values().has("in.guidance")) {
      largest = Math.max(largest, goldens.get("in.guidance").max().item_double());
    }
    goldens.assertNear(name, actual, TransformerGoldens.sinusoidNoise(name, largest));
  }

  @TestFactory
  Stream<DynamicTest> outputsWithLora() {
    return goldens.outputsWithLora(mix -> run(transformer, mix, Probe.NONE), this::runMerged);
  }

  private Tensor runMerged(AdapterMix mix) {
    try (FluxTransformer merged =
        FluxTransformer.openMerged(folder, ScalarType.Float, backend, mix)) {
      return run(merged, AdapterMix.NONE, Probe.NONE);
    }
  }

  @TestFactory
  Stream<DynamicTest> mergedWeights() {
    return goldens.mergedWeights(transformer.linears());
  }

  @Test
  void threadsShareTheModel() throws Exception {
    List<AdapterMix> mixes =
        List.of(AdapterMix.NONE, AdapterMix.of(slow), AdapterMix.of(fast), AdapterMix.of(slow, 2));
    List<Tensor> alone = mixes.stream().map(mix -> run(transformer, mix, Probe.NONE)).toList();
    ExecutorService threads = Executors.newFixedThreadPool(mixes.size());
    try {
      List<Future<Tensor>> together = new ArrayList<>();
      for (AdapterMix mix : mixes) {
        together.add(threads.submit(() -> run(transformer, mix, Probe.NONE)));
      }
      for (int i = 0; i < mixes.size(); i++) {
        assertClose("thread " + i, alone.get(i), together.get(i).get(), TOLERANCE);
      }
    } finally {
      threads.shutdownNow();
    }
  }

  @Test
  void theKernelsBitsDoNotDependOnThreads() {
    assumeTrue(backend == Backend.CPU);
    int threads = torch.get_num_threads();
    try (FluxTransformer half = FluxTransformer.open(folder, ScalarType.BFloat16, backend)) {
      for (FluxTransformer model : List.of(transformer, half)) {
        NativeRuntime.setThreads(1);
        Tensor one = run(model, AdapterMix.NONE, Probe.NONE);
        NativeRuntime.setThreads(2);
        Tensor two = run(model, AdapterMix.NONE, Probe.NONE);
        assertExact(model.dtype() + " on 2 threads", one, two);
      }
    } finally {
      NativeRuntime.setThreads(threads);
    }
  }

  @Test
  void samplesOfABatchHaveTheirOwnTimestep() {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Inputs one = Inputs.golden(0.9);
      Inputs other = Inputs.golden(0.2);
      Tensor both = Inputs.concat(one, other).run(transformer, AdapterMix.of(slow), Probe.NONE);
      Tensor apart =
          torch.cat(
              new TensorVector(
                  one.run(transformer, AdapterMix.of(slow), Probe.NONE),
                  other.run(transformer, AdapterMix.of(slow), Probe.NONE)),
              0);
      assertClose("batch of two", apart, both, TOLERANCE);
    }
  }

  @Test
  void modulationsOfAScheduleEqualThoseOfItsSteps() {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Inputs one = Inputs.golden(0.9);
      Inputs other = Inputs.golden(0.2);
      Inputs all = Inputs.concat(one, other);
      AdapterMix mix = AdapterMix.of(fast);
      Modulation schedule = transformer.modulation(all.timestep, all.guidance, all.pooled, mix);
      long batch = one.latents.size(0);
      Tensor context = transformer.context(other.embeds, mix);
      Tensor actual =
          transformer.forward(
              other.latents, context, schedule.rows(batch, batch), other.rope, null, mix);
      assertClose("second step", other.run(transformer, mix, Probe.NONE), actual, TOLERANCE);
    }
  }

  @Test
  void textIsEmbeddedOnceForAllTimestepsOfASample() {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Inputs one = Inputs.golden(0.9);
      Inputs all = Inputs.concat(one, one);
      AdapterMix mix = AdapterMix.of(fast);
      Modulation once = transformer.modulation(all.timestep, one.guidance, one.pooled, mix);
      Modulation each = transformer.modulation(all.timestep, all.guidance, all.pooled, mix);
      Tensor context = transformer.context(one.embeds, mix);
      long batch = one.latents.size(0);
      assertClose(
          "second timestep",
          transformer.forward(one.latents, context, each.rows(batch, batch), one.rope, null, mix),
          transformer.forward(one.latents, context, once.rows(batch, batch), one.rope, null, mix),
          TOLERANCE);
    }
  }

  @Test
  void refusesTimestepsThatDoNotDivideAmongTheSamples() {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Inputs one = Inputs.golden(0.9);
      Inputs all = Inputs.concat(one, one);
      assertThrows(
          IllegalArgumentException.class,
          () -> transformer.modulation(one.timestep, all.guidance, all.pooled, AdapterMix.NONE));
    }
  }

  @Test
  void bfloat16StaysNearFloat32() {
    try (FluxTransformer half = FluxTransformer.open(folder, ScalarType.BFloat16, backend);
        NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      // Values that bf16 represents, and 1000 times them too: the model's type rounds both.
      Inputs golden = Inputs.golden(0.5);
      Inputs inputs =
          golden.guidance == null
              ? golden
              : golden.withGuidance(golden.guidance.clone().fill_(new Scalar(2)));
      Tensor expected = inputs.run(transformer, AdapterMix.NONE, Probe.NONE);
      Tensor actual = inputs.run(half, AdapterMix.NONE, Probe.NONE);
      assertEquals(ScalarType.BFloat16, actual.scalar_type().intern());
      Tensor difference = actual.to(ScalarType.Float).sub(expected);
      double error = difference.norm().item_double() / expected.norm().item_double();
      assertTrue(error < 3e-2, "relative error " + error);
    }
  }

  @Test
  void gradientsReachTheAdapterOrAreRefused() {
    try (PointerScope scope = new PointerScope()) {
      String linear = new TreeMap<>(slow.pairs()).firstKey();
      LoraPair first = requireNonNull(slow.pair(linear));
      Tensor down = first.down().clone().set_requires_grad(true);
      Tensor up = first.up().clone().set_requires_grad(true);
      LoraAdapter trained =
          new LoraAdapter("trained", Map.of(linear, new LoraPair(down, up, first.scale())));
      Inputs inputs = Inputs.golden(0.5);
      AdapterMix mix = AdapterMix.of(trained);
      if (backend != Backend.TORCH) {
        IllegalArgumentException e =
            assertThrows(
                IllegalArgumentException.class, () -> inputs.run(transformer, mix, Probe.NONE));
        assertMentions("gradient", e);
        return;
      }
      inputs.run(transformer, mix, Probe.NONE).sum().backward();
      assertTrue(down.grad().abs().max().item_double() > 0);
      assertTrue(up.grad().abs().max().item_double() > 0);
    }
  }

  @Test
  void namesTheLinearAnAdapterDoesNotFit() {
    try (PointerScope scope = new PointerScope()) {
      String linear = new TreeMap<>(slow.pairs()).firstKey();
      LoraPair good = requireNonNull(slow.pair(linear));
      Tensor down = good.down();
      Tensor up = good.up();
      long rank = good.rank();
      List<LoraAdapter> bad = new ArrayList<>();
      bad.add(adapter(linear + "_z", down, up));
      bad.add(adapter(linear, down.narrow(1, 1, down.size(1) - 1), up));
      bad.add(adapter(linear, down, up.narrow(0, 1, up.size(0) - 1)));
      bad.add(adapter(linear, down.narrow(0, 1, rank - 1), up));
      bad.add(adapter(linear, down.narrow(0, 0, 0), up.narrow(1, 0, 0)));
      bad.add(adapter(linear, down.unsqueeze(0), up));
      for (LoraAdapter adapter : bad) {
        String name = adapter.pairs().keySet().iterator().next();
        ModelFormatException e =
            assertThrows(ModelFormatException.class, () -> transformer.check(adapter));
        assertMentions(name, e);
        assertMentions(adapter.name(), e);
      }
    }
  }

  @Test
  void refusesAdaptersOfAnotherType() {
    try (PointerScope scope = new PointerScope()) {
      String linear = new TreeMap<>(slow.pairs()).firstKey();
      LoraPair pair = requireNonNull(slow.pair(linear));
      LoraAdapter half =
          adapter(linear, pair.down().to(ScalarType.BFloat16), pair.up().to(ScalarType.BFloat16));
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> transformer.check(half));
      assertMentions("BFloat16", e);
    }
  }

  private static LoraAdapter adapter(String linear, Tensor down, Tensor up) {
    return new LoraAdapter("test adapter", Map.of(linear, new LoraPair(down, up, 1)));
  }

  @Test
  void refusesInputsThatDoNotFit() {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Inputs good = Inputs.golden(0.5);
      Tensor narrow = good.latents.narrow(2, 0, 1);
      assertRefused("latents", new Inputs(narrow, good));
      @Nullable Tensor otherGuidance = good.guidance == null ? good.timestep : null;
      assertRefused("guidance", good.withGuidance(otherGuidance));
      Tensor fewer = good.latents.narrow(1, 0, good.latents.size(1) - 1);
      assertRefused("rope", new Inputs(fewer, good));
    }
  }

  private static void assertRefused(String named, Inputs inputs) {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () -> inputs.run(transformer, AdapterMix.NONE, Probe.NONE));
    assertMentions(named, e);
  }

  private static void assertMentions(String named, Exception e) {
    assertTrue(String.valueOf(e.getMessage()).contains(named), e.getMessage());
  }

  @Test
  void closedModelRefuses() {
    FluxTransformer closed = FluxTransformer.open(folder, ScalarType.Float, backend);
    closed.close();
    closed.close();
    try (PointerScope scope = new PointerScope()) {
      Inputs inputs = Inputs.golden(0.5);
      assertThrows(
          IllegalStateException.class, () -> inputs.run(closed, AdapterMix.NONE, Probe.NONE));
    }
  }

  private static Tensor run(FluxTransformer model, AdapterMix mix, Probe probe) {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Tensor timestep = goldens.get("in.timestep");
      return Inputs.golden(timestep).run(model, mix, probe).clone().retainReference();
    }
  }

  private static Probe recorder(Map<String, Tensor> seen) {
    long textTokens = goldens.get("txt_ids").size(0);
    Probe recorder = TransformerGoldens.recorder(seen);
    return (module, output, value) -> {
      if (module.startsWith("single_transformer_blocks") && output.equals("out")) {
        // The reference splits a single block's output again.
        Tensor joint = value.get();
        long imageTokens = joint.size(1) - textTokens;
        recorder.see(module, "out0", () -> joint.narrow(1, 0, textTokens));
        recorder.see(module, "out1", () -> joint.narrow(1, textTokens, imageTokens));
      } else {
        // The sinusoids are shown for the timestep first, then for the guidance.
        recorder.see(module, output, value);
      }
    };
  }

  /** The arguments of one forward pass. */
  private record Inputs(
      Tensor latents,
      Tensor embeds,
      Tensor pooled,
      Tensor timestep,
      @Nullable Tensor guidance,
      Rope rope) {
    Inputs(Tensor latents, Inputs other) {
      this(latents, other.embeds, other.pooled, other.timestep, other.guidance, other.rope);
    }

    /** The golden inputs with another timestep. */
    static Inputs golden(double timestep) {
      return golden(goldens.get("in.timestep").clone().fill_(new Scalar(timestep)));
    }

    static Inputs golden(Tensor timestep) {
      Tensor latents = goldens.get("latents_packed");
      Tensor ids = torch.cat(new TensorVector(goldens.get("txt_ids"), goldens.get("img_ids")), 0);
      @Nullable Tensor guidance =
          goldens.values().has("in.guidance") ? goldens.get("in.guidance") : null;
      return new Inputs(
          where.place(latents),
          where.place(goldens.get("in.encoder_hidden_states")),
          where.place(goldens.get("in.pooled_projections")),
          where.place(timestep),
          guidance != null && transformer.config().guidanceEmbeds() ? where.place(guidance) : null,
          FluxRope.of(ids, transformer.config().ropeAxes()).on(where));
    }

    static Inputs concat(Inputs a, Inputs b) {
      return new Inputs(
          torch.cat(new TensorVector(a.latents, b.latents), 0),
          torch.cat(new TensorVector(a.embeds, b.embeds), 0),
          torch.cat(new TensorVector(a.pooled, b.pooled), 0),
          torch.cat(new TensorVector(a.timestep, b.timestep), 0),
          a.guidance == null || b.guidance == null
              ? null
              : torch.cat(new TensorVector(a.guidance, b.guidance), 0),
          a.rope);
    }

    Inputs withGuidance(@Nullable Tensor other) {
      return new Inputs(latents, embeds, pooled, timestep, other, rope);
    }

    Tensor run(FluxTransformer model, AdapterMix mix, Probe probe) {
      return model.forward(
          latents, embeds, pooled, timestep, guidance, new Pass(mix, rope, null, probe));
    }
  }
}
