package org.glance4j.kernel;

import static org.glance4j.kernel.Operations.assertRefused;
import static org.glance4j.kernel.TestScope.empty;
import static org.glance4j.kernel.TestScope.full;
import static org.glance4j.kernel.TestScope.ones;
import static org.glance4j.kernel.TestScope.placed;
import static org.glance4j.kernel.TestScope.randn;
import static org.glance4j.kernel.TestScope.zeros;
import static org.glance4j.reference.TensorAssert.assertClose;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.FlowStep.Rounding;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

class FlowStepTest {
  private static final ScalarType F32 = ScalarType.Float;
  private static final ScalarType BF16 = ScalarType.BFloat16;
  private static final float SIGMA = 0.9431f;
  private static final float SIGMA_NEXT = 0.7250f;

  static {
    NativeRuntime.initialize();
  }

  /**
   * @param gap poisoned elements before each row; an odd number also leaves rows unaligned
   */
  record Case(
      Backend backend,
      List<Long> dimensions,
      long gap,
      ScalarType latents,
      ScalarType velocity,
      Cfg cfg,
      Rounding rounding) {
    @Override
    public String toString() {
      return "%s, %s gap %d, latents %s, velocity %s, %s, rounding %s"
          .formatted(backend, dimensions, gap, latents, velocity, cfg.mode(), rounding);
    }

    long[] shape() {
      return dimensions.stream().mapToLong(Long::longValue).toArray();
    }

    /** True if LibTorch's operations round exactly where the kernel does. */
    boolean exact() {
      return cfg.mode() != Cfg.Mode.RESCALED;
    }

    boolean narrow() {
      return latents == BF16 || (velocity == BF16 && rounding == Rounding.EACH_OPERATION);
    }
  }

  static Stream<Arguments> cases() {
    return TestBackends.all().stream()
        .filter(backend -> backend != Backend.TORCH)
        .flatMap(FlowStepTest::cases);
  }

  private static Stream<Arguments> cases(Backend backend) {
    List<List<Long>> shapes =
        List.of(
            List.of(1L, 1L),
            List.of(1L, 6L, 64L),
            List.of(2L, 3L, 17L),
            List.of(13L),
            List.of(2L, 2L, 5L, 127L),
            List.of(301L, 8L),
            List.of(4L, 1L));
    List<Arguments> cases = new ArrayList<>();
    for (List<Long> shape : shapes) {
      for (long gap : new long[] {0, 3}) {
        for (ScalarType latents : List.of(F32, BF16)) {
          for (ScalarType velocity : List.of(F32, BF16)) {
            for (Cfg cfg : List.of(Cfg.NONE, Cfg.plain(3.5f), Cfg.rescaled(4f))) {
              // One column rescaled is |v_pos| with the sign of a difference, which rounding may
              // flip.
              boolean chaotic = cfg.mode() == Cfg.Mode.RESCALED && shape.get(shape.size() - 1) == 1;
              for (Rounding rounding : chaotic ? new Rounding[0] : Rounding.values()) {
                cases.add(
                    Arguments.of(new Case(backend, shape, gap, latents, velocity, cfg, rounding)));
              }
            }
          }
        }
      }
    }
    return cases.stream();
  }

  /** A tensor inside a larger one whose other elements are NaN. */
  private record Framed(Tensor frame, Tensor view) {
    static Framed of(Case c, ScalarType type) {
      long[] wide = c.shape();
      int last = wide.length - 1;
      wide[last] += c.gap();
      Tensor frame = full(wide, new Scalar(Double.NaN), new TensorOptions(type)).contiguous();
      Tensor view = frame.narrow(last, c.gap(), c.shape()[last]);
      return new Framed(frame, view);
    }

    static Framed random(Case c, ScalarType type) {
      Framed framed = of(c, type);
      framed.view.copy_(randn(c.shape()));
      return framed;
    }

    void assertFrameUntouched(String what) {
      view.fill_(new Scalar(Double.NaN));
      assertTrue(frame.isnan().all().item_bool(), what + ": wrote outside the tensor");
    }
  }

  private static Tensor exact(Case c, Tensor latents, Tensor positive, @Nullable Tensor negative) {
    Tensor v = positive.to(ScalarType.Double);
    if (negative != null) {
      Tensor n = negative.to(ScalarType.Double);
      Tensor combined = n.add(v.sub(n).mul(new Scalar(c.cfg().scale())));
      v = c.cfg().mode() == Cfg.Mode.PLAIN ? combined : combined.mul(norm(v)).div(norm(combined));
    }
    return latents.to(ScalarType.Double).add(v.mul(new Scalar((double) SIGMA_NEXT - SIGMA)));
  }

  private static Tensor norm(Tensor tensor) {
    return torch.linalg_vector_norm(
        tensor, new Scalar(2.0), new long[] {-1}, true, new ScalarTypeOptional());
  }

  private static void assertSameBits(String what, Tensor expected, Tensor actual) {
    ScalarType bits = TensorChecks.type(expected) == F32 ? ScalarType.Int : ScalarType.Short;
    assertTrue(
        expected.contiguous().view(bits).equal(actual.contiguous().view(bits)),
        what + ": bits differ:\nexpected " + expected + "\nactual " + actual);
  }

  /** The error's norm against that of the terms that are added up, which may cancel. */
  private static double relativeError(Tensor expected, Tensor actual, Tensor terms) {
    Tensor difference = actual.to(ScalarType.Double).sub(expected);
    return difference.norm().item_double() / terms.norm().item_double();
  }

  private static Tensor terms(Case c, Tensor latents, Tensor positive, @Nullable Tensor negative) {
    Tensor v = positive.to(ScalarType.Double).abs();
    if (negative != null) {
      v = v.add(negative.to(ScalarType.Double).abs()).mul(new Scalar(1 + c.cfg().scale()));
    }
    Tensor moved = v.mul(new Scalar(Math.abs((double) SIGMA_NEXT - SIGMA)));
    return latents.to(ScalarType.Double).abs().add(moved);
  }

  @ParameterizedTest
  @MethodSource("cases")
  void kernelMatchesFloat64AndLibTorch(Case c) {
    long seed = ThreadLocalRandom.current().nextLong() >>> 1;
    String what = c + ", seed " + seed;
    try (TestScope scope = TestScope.on(c.backend())) {
      torch.manual_seed(seed);
      Framed latents = Framed.random(c, c.latents());
      Framed copy = Framed.of(c, BF16);
      Tensor positive = Framed.random(c, c.velocity()).view();
      Tensor negative =
          c.cfg().mode() == Cfg.Mode.NONE ? null : Framed.random(c, c.velocity()).view();
      Tensor oracle = latents.view().clone();
      Tensor oracleCopy = copy.view().clone();
      Tensor exact = exact(c, oracle, positive, negative);
      Tensor terms = terms(c, oracle, positive, negative);

      FlowStep.on(Backend.TORCH, c.rounding())
          .update(oracle, positive, negative, c.cfg(), SIGMA, SIGMA_NEXT, oracleCopy);
      FlowStep.on(c.backend(), c.rounding())
          .update(latents.view(), positive, negative, c.cfg(), SIGMA, SIGMA_NEXT, copy.view());

      double tolerance = c.narrow() ? 1e-2 : 1e-6;
      assertEquals(0, relativeError(exact, latents.view(), terms), tolerance, what);
      assertEquals(0, relativeError(exact, oracle, terms), tolerance, what + ": LibTorch");
      assertEquals(0, relativeError(exact, copy.view(), terms), 1e-2, what + ": copy");
      if (c.exact()) {
        assertSameBits(what, oracle, latents.view());
        assertSameBits(what + ": copy", oracleCopy, copy.view());
      }
      latents.assertFrameUntouched(what);
      copy.assertFrameUntouched(what + ": copy");
    }
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void followsTheReferenceScheduler(Backend backend) {
    Assumptions.assumeTrue(Reference.hasGoldens("flux_scheduler"));
    try (TestScope scope = TestScope.on(backend);
        Goldens goldens = Reference.goldens("flux_scheduler")) {
      Assumptions.assumeTrue(goldens.has("step.sample1"), "no single steps in this folder");
      float[] sigmas = sigmas(goldens.entry().path("tensors").path("step.sample1"));
      FlowStep step = FlowStep.on(backend, Rounding.ONCE);
      for (int i = 0; goldens.has("step.model_output" + i); i++) {
        Tensor latents = placed(goldens.get("step.sample" + i).clone());
        Tensor velocity = placed(goldens.get("step.model_output" + i));
        step.update(latents, velocity, sigmas[i], sigmas[i + 1]);
        assertClose("step " + i, goldens.get("step.sample" + (i + 1)), latents.cpu(), 1e-6);
      }
    }
  }

  /** The base schedule of as many steps and with the mu that the manifest's call names. */
  private static float[] sigmas(JsonNode tensor) {
    String call = tensor.path("call").asText();
    Matcher numbers = Pattern.compile("(\\d+) steps, mu=([0-9.]+\\d)").matcher(call);
    assertTrue(numbers.find(), call);
    int steps = Integer.parseInt(numbers.group(1));
    double shift = Math.exp(Double.parseDouble(numbers.group(2)));
    float[] sigmas = new float[steps + 1];
    for (int i = 0; i < steps; i++) {
      double s = 1 - i * (1 - 1.0 / steps) / Math.max(1, steps - 1);
      sigmas[i] = (float) (shift / (shift + 1 / s - 1));
    }
    return sigmas;
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void notANumberAndInfinityStayInTheirElement(Backend backend) {
    try (TestScope scope = TestScope.on(backend)) {
      Tensor latents = zeros(3, 20);
      Tensor velocity = ones(3, 20);
      velocity.select(0, 0).select(0, 7).fill_(new Scalar(Double.NaN));
      velocity.select(0, 2).select(0, 19).fill_(new Scalar(Double.POSITIVE_INFINITY));
      FlowStep.on(backend, Rounding.ONCE).update(latents, velocity, 1f, 0.5f);
      assertTrue(Double.isNaN(latents.select(0, 0).select(0, 7).item_double()));
      assertEquals(Double.NEGATIVE_INFINITY, latents.select(0, 2).select(0, 19).item_double());
      assertEquals(58, latents.eq(new Scalar(-0.5)).sum().item_long());
    }
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void zeroVelocitiesAreNoNaN(Backend backend) {
    try (TestScope scope = TestScope.on(backend)) {
      Tensor latents = randn(3, 20);
      Tensor before = latents.clone();
      Tensor zero = zeros(3, 20);
      FlowStep.on(backend, Rounding.ONCE)
          .update(latents, zero, zero.clone(), Cfg.rescaled(4f), 1f, 0.5f, null);
      assertSameBits("zero velocities", before, latents);
    }
  }

  @Test
  void emptyTensorsAreNoError() {
    try (PointerScope scope = new PointerScope()) {
      FlowStep step = FlowStep.on(Backend.CPU, Rounding.ONCE);
      step.update(empty(0, 8), empty(0, 8), 1f, 0.5f);
      step.update(empty(3, 0), empty(3, 0), 1f, 0.5f);
    }
  }

  /** Arguments of an update that a test spoils one at a time. */
  private static final class Update {
    Tensor latents = randn(4, 8);
    Tensor velocity = randn(4, 8);
    @Nullable Tensor negative = randn(4, 8);
    Tensor copy = randn(4, 8).to(BF16);
    Cfg cfg = Cfg.plain(2f);
    float sigma = 1f;
    float sigmaNext = 0.5f;

    void run(Backend backend) {
      FlowStep.on(backend, Rounding.ONCE)
          .update(latents, velocity, negative, cfg, sigma, sigmaNext, copy);
    }
  }

  private record Spoiled(String name, Backend backend, Consumer<Update> spoil) {
    @Override
    public String toString() {
      return name + " on " + backend;
    }
  }

  static Stream<Spoiled> refusals() {
    List<Spoiled> refusals = new ArrayList<>();
    for (Backend backend : TestBackends.all()) {
      refusals.add(new Spoiled("velocity", backend, u -> u.velocity = randn(4, 7)));
      refusals.add(new Spoiled("velocity", backend, u -> u.velocity = randn(1, 4, 8)));
      refusals.add(new Spoiled("negative", backend, u -> u.negative = randn(8, 4)));
      refusals.add(new Spoiled("negative", backend, u -> u.negative = u.velocity.to(BF16)));
      refusals.add(new Spoiled("negative", backend, u -> u.negative = null));
      refusals.add(new Spoiled("negative", backend, u -> u.cfg = Cfg.NONE));
      refusals.add(
          new Spoiled("latents", backend, u -> u.latents = u.latents.to(ScalarType.Double)));
      refusals.add(new Spoiled("latents", backend, u -> u.latents.set_requires_grad(true)));
      refusals.add(
          new Spoiled("velocity", backend, u -> u.velocity = u.velocity.to(ScalarType.Double)));
      refusals.add(new Spoiled("latentsBf16", backend, u -> u.copy = u.copy.to(F32)));
      refusals.add(new Spoiled("latentsBf16", backend, u -> u.copy = u.copy.view(8, 4)));
      refusals.add(new Spoiled("sigma", backend, u -> u.sigma = Float.NaN));
      refusals.add(new Spoiled("sigmaNext", backend, u -> u.sigmaNext = Float.NEGATIVE_INFINITY));
    }
    refusals.add(new Spoiled("latents", Backend.CPU, u -> u.latents = randn(8, 4).t()));
    refusals.add(new Spoiled("velocity", Backend.CPU, u -> u.velocity = randn(8, 4).t()));
    refusals.add(new Spoiled("negative", Backend.CPU, u -> u.negative = randn(1, 8).expand(4, 8)));
    refusals.add(new Spoiled("overlaps", Backend.CPU, u -> u.velocity = u.latents));
    return refusals.stream();
  }

  @ParameterizedTest
  @MethodSource("refusals")
  void refusesWithTheArgumentsName(Spoiled spoiled) {
    try (TestScope scope = TestScope.on(spoiled.backend)) {
      Update update = new Update();
      spoiled.spoil.accept(update);
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> update.run(spoiled.backend));
      assertTrue(String.valueOf(e.getMessage()).contains(spoiled.name), e.toString());
    }
  }

  @Test
  void onlyCudaReadsASchedule() {
    try (PointerScope scope = new PointerScope()) {
      Tensor latents = randn(4, 8);
      Tensor schedule = ones(3);
      for (Backend backend : List.of(Backend.CPU, Backend.TORCH)) {
        FlowStep step = FlowStep.on(backend, Rounding.ONCE);
        assertRefused(
            "schedule",
            () -> step.updateScheduled(latents, randn(4, 8), null, Cfg.Mode.NONE, schedule));
      }
    }
  }

  @Test
  void aScheduleInDeviceMemoryIsTheSameUpdate() {
    assumeTrue(TestBackends.whyNoCuda() == null, TestBackends.whyNoCuda());
    try (TestScope scope = TestScope.on(Backend.CUDA)) {
      FlowStep step = FlowStep.on(Backend.CUDA, Rounding.ONCE);
      Tensor latents = randn(1, 33, 64);
      Tensor again = latents.clone();
      Tensor positive = randn(1, 33, 64);
      Tensor negative = randn(1, 33, 64);
      step.update(latents, positive, negative, Cfg.plain(3.5f), SIGMA, SIGMA_NEXT, null);
      Tensor schedule = placed(torch.tensor(new float[] {SIGMA, SIGMA_NEXT, 3.5f}));
      step.updateScheduled(again, positive, negative, Cfg.Mode.PLAIN, schedule);
      assertSameBits("scheduled", latents, again);
      assertRefused(
          "schedule",
          () ->
              step.updateScheduled(
                  again, positive, negative, Cfg.Mode.PLAIN, schedule.narrow(0, 0, 2)));
      assertRefused(
          "schedule",
          () -> step.updateScheduled(again, positive, negative, Cfg.Mode.PLAIN, schedule.cpu()));
    }
  }

  @Test
  void refusesAScaleThatIsNotFinite() {
    assertThrows(IllegalArgumentException.class, () -> Cfg.plain(Float.NaN));
    assertThrows(IllegalArgumentException.class, () -> Cfg.rescaled(Float.POSITIVE_INFINITY));
  }
}
