package org.glance4j.kernel;

import static org.glance4j.kernel.Operations.BF16;
import static org.glance4j.kernel.Operations.assertNear;
import static org.glance4j.kernel.Operations.assertRefused;
import static org.glance4j.kernel.Operations.assertSameBits;
import static org.glance4j.kernel.Operations.weights;
import static org.glance4j.kernel.Operations.wide;
import static org.glance4j.kernel.TestScope.randn;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.LoraMatmul.Adapter;
import org.glance4j.kernel.LoraMatmul.Segment;
import org.glance4j.kernel.ModulatedNorm.Norm;
import org.glance4j.kernel.Operations.Setting;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class ModulatedNormTest {
  private static final double EPSILON = 1e-6;

  record Case(Setting setting, Norm norm, long batch, long tokens, long columns, long gap)
      implements Operations.Placed {}

  static Stream<Case> cases() {
    List<Case> cases = new ArrayList<>();
    Operations.settings()
        .forEach(
            setting -> {
              for (Norm norm : Norm.values()) {
                cases.add(new Case(setting, norm, 1, 1, 2, 0));
                cases.add(new Case(setting, norm, 2, 3, 17, 3));
                cases.add(new Case(setting, norm, 2, 31, 192, 0));
                cases.add(new Case(setting, norm, 3, 5, 131, 1));
              }
            });
    return cases.stream();
  }

  /** The tensors of a case. */
  private record Input(Tensor x, @Nullable Tensor scale, @Nullable Tensor shift) {
    static Input random(Case c, boolean modulated) {
      ScalarType dtype = c.setting().dtype();
      Tensor x = Framed.random(c.gap(), dtype, c.batch(), c.tokens(), c.columns()).view();
      x.mul_(new Scalar(3.0)).add_(new Scalar(1.0));
      // As a modulation's vectors lie: two of five.
      Tensor vectors = randn(c.batch(), 5, c.columns()).to(dtype);
      return modulated
          ? new Input(x, vectors.narrow(1, 1, 1), vectors.select(1, 3))
          : new Input(x, null, null);
    }

    Tensor exact(Norm norm) {
      Tensor wide = wide(x);
      long[] last = {-1};
      Tensor centred =
          norm == Norm.LAYER ? wide.sub(wide.mean(last, true, new ScalarTypeOptional())) : wide;
      Tensor square = centred.mul(centred).mean(last, true, new ScalarTypeOptional());
      Tensor normed = centred.div(square.add(new Scalar(EPSILON)).sqrt());
      if (scale != null) {
        normed = normed.mul(wide(scale).add(new Scalar(1)));
      }
      return shift == null ? normed : normed.add(wide(shift).unsqueeze(1));
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void equalsTheFormula(Case c) throws Exception {
    for (boolean modulated : new boolean[] {true, false}) {
      Operations.withRandom(
          c,
          seed -> {
            String what = seed + (modulated ? "" : ", plain");
            Input input = Input.random(c, modulated);
            Tensor y =
                ModulatedNorm.on(c.setting().backend())
                    .forward(input.x, c.norm(), EPSILON, input.scale, input.shift);
            assertNear(what, input.exact(c.norm()), y, c.setting().tolerance());
            assertTrue(y.is_contiguous(), what);
            assertEquals(c.setting().dtype(), TensorChecks.type(y));
          });
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void normsAPartOfEachSample(Case c) throws Exception {
    Operations.withRandom(
        c,
        what -> {
          Input input = Input.random(c, true);
          long extra = 4;
          Tensor longer =
              Framed.poisoned(
                      c.gap(), c.setting().dtype(), c.batch(), c.tokens() + extra, c.columns())
                  .view();
          Tensor part = longer.narrow(1, extra, c.tokens()).copy_(input.x);
          ModulatedNorm norm = ModulatedNorm.on(c.setting().backend());
          Tensor whole = norm.forward(input.x, c.norm(), EPSILON, input.scale, input.shift);
          Tensor y = norm.forward(part, c.norm(), EPSILON, input.scale, input.shift);
          assertNear(what, whole, y, 1e-6);
        });
  }

  @ParameterizedTest
  @MethodSource("cases")
  void givesTheDownProjection(Case c) throws Exception {
    Operations.withRandom(
        c,
        what -> {
          ScalarType dtype = c.setting().dtype();
          Backend backend = c.setting().backend();
          Input input = Input.random(c, true);
          Tensor one = weights(dtype, c.columns(), 5, c.columns());
          Tensor two = weights(dtype, c.columns(), 3, c.columns());
          List<Adapter> adapters =
              List.of(
                  new Adapter(PackedMatrix.of(backend, one), List.of(), 0.5f),
                  new Adapter(PackedMatrix.of(backend, two), List.of(), -2f));
          long rows = c.batch() * c.tokens();
          List<Segment> segments =
              List.of(
                  new Segment(0, rows / 3, 1),
                  new Segment(rows / 3, rows / 2, -1),
                  new Segment(rows / 2, rows, 0));
          Framed y = Framed.poisoned(c.gap(), dtype, c.batch(), c.tokens(), c.columns());
          Framed h = Framed.poisoned(c.gap(), dtype, c.batch(), c.tokens(), 5);
          ModulatedNorm.on(backend)
              .forward(
                  input.x,
                  c.norm(),
                  EPSILON,
                  input.scale,
                  input.shift,
                  y.view(),
                  h.view(),
                  adapters,
                  segments);
          assertNear(what, input.exact(c.norm()), y.view(), c.setting().tolerance());
          Tensor normed = wide(y.view()).flatten(0, -2);
          Tensor down = wide(h.view().flatten(0, -2));
          Tensor first = normed.matmul(wide(two).t()).mul(new Scalar(-2.0));
          Tensor last = normed.matmul(wide(one).t()).mul(new Scalar(0.5));
          assertNear(
              what + ", h of two",
              first.narrow(0, 0, rows / 3),
              down.narrow(0, 0, rows / 3).narrow(1, 0, 3),
              c.setting().tolerance());
          assertNear(
              what + ", h of one",
              last.narrow(0, rows / 2, rows - rows / 2),
              down.narrow(0, rows / 2, rows - rows / 2),
              c.setting().tolerance());
          Tensor untouched = down.narrow(0, rows / 3, rows / 2 - rows / 3);
          assertTrue(untouched.isnan().all().item_bool(), what + ": rows without an adapter");
          Tensor beyond = down.narrow(0, 0, rows / 3).narrow(1, 3, 2);
          assertTrue(beyond.isnan().all().item_bool(), what + ": columns beyond the rank");
          y.assertFrameUntouched(what);
          h.assertFrameUntouched(what);
        });
  }

  @ParameterizedTest
  @MethodSource("cases")
  void normsInPlace(Case c) throws Exception {
    Operations.withRandom(
        c,
        what -> {
          Input input = Input.random(c, true);
          ModulatedNorm norm = ModulatedNorm.on(c.setting().backend());
          Tensor expected = norm.forward(input.x, c.norm(), EPSILON, input.scale, input.shift);
          norm.forward(
              input.x,
              c.norm(),
              EPSILON,
              input.scale,
              input.shift,
              input.x,
              null,
              List.of(),
              List.of());
          assertSameBits(what, expected, input.x);
        });
  }

  /** Arguments of a call that a test spoils one at a time. */
  private static final class Call {
    final Backend backend;
    Tensor x = randn(2, 3, 8);
    double epsilon = EPSILON;
    Tensor scale = randn(2, 1, 8);
    Tensor shift = randn(2, 8);
    Tensor y = randn(2, 3, 8);
    @Nullable Tensor h = randn(2, 3, 4);
    PackedMatrix down;
    List<Segment> segments = List.of(new Segment(0, 6, 0));

    Call(Backend backend) {
      this.backend = backend;
      this.down = PackedMatrix.of(backend, randn(4, 8));
    }

    void run() {
      ModulatedNorm.on(backend)
          .forward(
              x,
              Norm.LAYER,
              epsilon,
              scale,
              shift,
              y,
              h,
              List.of(new Adapter(down, List.of(), 1)),
              segments);
    }
  }

  private record Spoiled(String name, Backend backend, Consumer<Call> spoil) {
    @Override
    public String toString() {
      return name + " on " + backend;
    }
  }

  static Stream<Spoiled> refusals() {
    List<Spoiled> all = new ArrayList<>();
    for (Backend b : TestBackends.all()) {
      all.add(new Spoiled("x must", b, c -> c.x = c.x.to(ScalarType.Double)));
      all.add(new Spoiled("x has", b, c -> c.x = randn(8)));
      all.add(new Spoiled("epsilon", b, c -> c.epsilon = -1));
      all.add(new Spoiled("epsilon", b, c -> c.epsilon = Double.NaN));
      all.add(new Spoiled("scale", b, c -> c.scale = randn(3, 1, 8)));
      all.add(new Spoiled("scale", b, c -> c.scale = randn(2, 3, 8)));
      all.add(new Spoiled("scale", b, c -> c.scale = c.scale.to(BF16)));
      all.add(new Spoiled("shift", b, c -> c.shift = randn(2, 7)));
      all.add(new Spoiled("shift", b, c -> c.shift = randn(8)));
      all.add(new Spoiled("y", b, c -> c.y = randn(2, 3, 7)));
      all.add(new Spoiled("y", b, c -> c.y = c.y.to(BF16)));
      all.add(new Spoiled("h", b, c -> c.h = randn(2, 3, 3)));
      all.add(new Spoiled("h", b, c -> c.h = randn(6, 4)));
      all.add(new Spoiled("h", b, c -> c.h = randn(2, 3, 4).to(BF16)));
      all.add(new Spoiled("h", b, c -> c.h = null));
      all.add(new Spoiled("down", b, c -> c.down = PackedMatrix.of(b, randn(4, 7))));
      all.add(new Spoiled("segments", b, c -> c.segments = List.of(new Segment(0, 5, 0))));
    }
    all.add(new Spoiled("x", Backend.CPU, c -> c.x = randn(2, 8, 3).transpose(1, 2)));
    all.add(new Spoiled("x", Backend.CPU, c -> c.x = randn(2, 5, 8).narrow(1, 1, 3)));
    all.add(new Spoiled("gradient", Backend.CPU, c -> c.x = c.x.set_requires_grad(true)));
    return all.stream();
  }

  @ParameterizedTest
  @MethodSource("refusals")
  void refusesWithTheArgumentsName(Spoiled spoiled) {
    try (TestScope scope = TestScope.on(spoiled.backend)) {
      Call call = new Call(spoiled.backend);
      spoiled.spoil.accept(call);
      assertRefused(spoiled.name, call::run);
    }
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.Operations#settings")
  void acceptsWhatTheRefusalsSpoil(Setting setting) {
    try (TestScope scope = TestScope.on(setting.backend())) {
      new Call(setting.backend()).run();
    }
  }
}
