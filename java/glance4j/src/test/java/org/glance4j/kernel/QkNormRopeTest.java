package org.glance4j.kernel;

import static org.glance4j.kernel.Operations.BF16;
import static org.glance4j.kernel.Operations.F32;
import static org.glance4j.kernel.Operations.assertNear;
import static org.glance4j.kernel.Operations.assertRefused;
import static org.glance4j.kernel.Operations.assertSameBits;
import static org.glance4j.kernel.Operations.wide;
import static org.glance4j.kernel.TestScope.rand;
import static org.glance4j.kernel.TestScope.randn;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Operations.Setting;
import org.glance4j.kernel.QkNormRope.Joint;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class QkNormRopeTest {
  private static final double EPSILON = 1e-6;

  record Case(
      Setting setting, ScalarType out, long batch, long tokens, long heads, long dim, long gap)
      implements Operations.Placed {
    double tolerance() {
      return out == BF16 ? 1e-2 : setting.tolerance();
    }

    long width() {
      return heads * dim;
    }
  }

  static Stream<Case> cases() {
    List<Case> cases = new ArrayList<>();
    Operations.settings()
        .forEach(
            setting -> {
              for (ScalarType out : List.of(F32, BF16)) {
                cases.add(new Case(setting, out, 1, 1, 1, 2, 0));
                cases.add(new Case(setting, out, 2, 3, 5, 14, 3));
                cases.add(new Case(setting, out, 2, 13, 6, 32, 192));
                cases.add(new Case(setting, out, 1, 7, 3, 128, 1));
              }
            });
    return cases.stream();
  }

  /** The tensors of a case: q, k and v in one projection. */
  private record Input(Case c, Tensor projected, Tensor qWeight, Tensor kWeight, Tensor rotation) {
    static Input random(Case c, long before) {
      ScalarType dtype = c.setting().dtype();
      Tensor angles = randn(before + c.tokens(), c.dim() / 2);
      return new Input(
          c,
          Framed.random(c.gap(), dtype, c.batch(), c.tokens(), 3 * c.width()).view(),
          rand(c.dim()).to(dtype),
          rand(c.dim()).to(dtype),
          torch.stack(new TensorVector(angles.cos(), angles.sin()), -1));
    }

    Tensor part(int index) {
      return projected.unflatten(-1, 3, c.heads(), c.dim()).select(2, index);
    }

    /** The formula in float64: [batch, heads, tokens, dim]. */
    Tensor exact(int index, Tensor weight, Tensor turns) {
      Tensor x = wide(part(index));
      Tensor square = x.mul(x).mean(new long[] {-1}, true, new ScalarTypeOptional());
      Tensor normed = x.div(square.add(new Scalar(EPSILON)).sqrt()).mul(wide(weight));
      Tensor pairs = normed.unflatten(-1, c.dim() / 2, 2);
      Tensor even = pairs.select(-1, 0);
      Tensor odd = pairs.select(-1, 1);
      Tensor cos = wide(turns).select(-1, 0).unsqueeze(1);
      Tensor sin = wide(turns).select(-1, 1).unsqueeze(1);
      Tensor first = even.mul(cos).sub(odd.mul(sin));
      Tensor second = even.mul(sin).add(odd.mul(cos));
      return torch.stack(new TensorVector(first, second), -1).flatten(-2, -1).transpose(1, 2);
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void equalsTheFormulaInAPartOfASequence(Case c) throws Exception {
    Operations.withRandom(
        c,
        what -> {
          Input input = Input.random(c, 0);
          List<Framed> outs = new ArrayList<>();
          List<Tensor> parts = new ArrayList<>();
          long first = 2;
          for (int i = 0; i < 3; i++) {
            Framed joint =
                Framed.poisoned(1, c.out(), c.batch(), c.heads(), first + c.tokens() + 1, c.dim());
            outs.add(joint);
            parts.add(joint.view().narrow(2, first, c.tokens()));
          }
          QkNormRope.on(c.setting().backend())
              .forward(
                  input.part(0),
                  input.part(1),
                  input.part(2),
                  input.qWeight,
                  input.kWeight,
                  EPSILON,
                  input.rotation,
                  parts.get(0),
                  parts.get(1),
                  parts.get(2));
          assertNear(
              what + ", q",
              input.exact(0, input.qWeight, input.rotation),
              parts.get(0),
              c.tolerance());
          assertNear(
              what + ", k",
              input.exact(1, input.kWeight, input.rotation),
              parts.get(1),
              c.tolerance());
          assertSameBits(what + ", v", input.part(2).transpose(1, 2).to(c.out()), parts.get(2));
          for (int i = 0; i < 3; i++) {
            parts.get(i).fill_(new Scalar(Double.NaN));
            outs.get(i).assertFrameUntouched(what);
            assertTrue(outs.get(i).frame().isnan().all().item_bool(), what);
          }
        });
  }

  @ParameterizedTest
  @MethodSource("cases")
  void putsAProjectionIntoTheJointSequence(Case c) throws Exception {
    Operations.withRandom(
        c,
        what -> {
          long first = 3;
          Input input = Input.random(c, first);
          Joint joint = new Joint(joint(c, first), joint(c, first), joint(c, first));
          QkNormRope.on(c.setting().backend())
              .forward(
                  input.projected,
                  c.heads(),
                  input.qWeight,
                  input.kWeight,
                  EPSILON,
                  input.rotation,
                  first,
                  joint);
          Tensor turns = input.rotation.narrow(0, first, c.tokens());
          assertNear(
              what + ", q",
              input.exact(0, input.qWeight, turns),
              joint.q().narrow(2, first, c.tokens()),
              c.tolerance());
          assertNear(
              what + ", k",
              input.exact(1, input.kWeight, turns),
              joint.k().narrow(2, first, c.tokens()),
              c.tolerance());
          assertSameBits(
              what + ", v",
              input.part(2).transpose(1, 2).to(c.out()),
              joint.v().narrow(2, first, c.tokens()));
          for (Tensor whole : List.of(joint.q(), joint.k(), joint.v())) {
            assertTrue(whole.narrow(2, 0, first).isnan().all().item_bool(), what);
          }
        });
  }

  private static Tensor joint(Case c, long first) {
    return Framed.poisoned(0, c.out(), c.batch(), c.heads(), first + c.tokens(), c.dim()).view();
  }

  @ParameterizedTest
  @MethodSource("cases")
  void worksWithoutValues(Case c) throws Exception {
    Operations.withRandom(
        c,
        what -> {
          Input input = Input.random(c, 0);
          Tensor q = joint(c, 0);
          Tensor k = joint(c, 0);
          QkNormRope.on(c.setting().backend())
              .forward(
                  input.part(0),
                  input.part(1),
                  null,
                  input.qWeight,
                  input.kWeight,
                  EPSILON,
                  input.rotation,
                  q,
                  k,
                  null);
          assertNear(what, input.exact(1, input.kWeight, input.rotation), k, c.tolerance());
          assertNear(what, input.exact(0, input.qWeight, input.rotation), q, c.tolerance());
        });
  }

  /** Arguments of both calls, which a test spoils one at a time. */
  private static final class Call {
    final Backend backend;
    Tensor q = randn(2, 3, 5, 8);
    Tensor k = randn(2, 3, 5, 8);
    @Nullable Tensor v = randn(2, 3, 5, 8);
    Tensor qWeight = randn(8);
    Tensor kWeight = randn(8);
    double epsilon = EPSILON;
    Tensor rotation = randn(3, 4, 2);
    Tensor qOut = randn(2, 5, 3, 8);
    Tensor kOut = randn(2, 5, 3, 8);
    Tensor vOut = randn(2, 5, 3, 8);
    boolean joint;
    Tensor projected = randn(2, 3, 120);
    long heads = 5;
    long first;

    Call(Backend backend) {
      this.backend = backend;
    }

    void run() {
      QkNormRope operation = QkNormRope.on(backend);
      if (joint) {
        operation.forward(
            projected,
            heads,
            qWeight,
            kWeight,
            epsilon,
            rotation,
            first,
            new Joint(qOut, kOut, vOut));
      } else {
        operation.forward(q, k, v, qWeight, kWeight, epsilon, rotation, qOut, kOut, vOut);
      }
    }

    Call joint() {
      joint = true;
      return this;
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
      all.add(new Spoiled("q ", b, c -> c.q = randn(2, 3, 40)));
      all.add(new Spoiled("q ", b, c -> c.q = randn(2, 3, 5, 7)));
      all.add(new Spoiled("q ", b, c -> c.q = c.q.to(ScalarType.Double)));
      all.add(new Spoiled("k ", b, c -> c.k = randn(2, 3, 5, 6)));
      all.add(new Spoiled("k ", b, c -> c.k = c.k.to(BF16)));
      all.add(new Spoiled("v ", b, c -> c.v = randn(2, 2, 5, 8)));
      all.add(new Spoiled("v ", b, c -> c.v = null));
      all.add(new Spoiled("qWeight", b, c -> c.qWeight = randn(7)));
      all.add(new Spoiled("kWeight", b, c -> c.kWeight = randn(1, 8)));
      all.add(new Spoiled("kWeight", b, c -> c.kWeight = randn(8).to(BF16)));
      all.add(new Spoiled("epsilon", b, c -> c.epsilon = Double.POSITIVE_INFINITY));
      all.add(new Spoiled("rotation", b, c -> c.rotation = randn(2, 4, 2)));
      all.add(new Spoiled("rotation", b, c -> c.rotation = c.rotation.to(BF16)));
      all.add(new Spoiled("rotation", b, c -> c.rotation = randn(3, 2, 4).transpose(1, 2)));
      all.add(new Spoiled("qOut", b, c -> c.qOut = randn(2, 3, 5, 8)));
      all.add(new Spoiled("qOut", b, c -> c.qOut = c.qOut.to(ScalarType.Double)));
      all.add(new Spoiled("kOut", b, c -> c.kOut = c.kOut.to(BF16)));
      all.add(new Spoiled("vOut", b, c -> c.vOut = randn(2, 5, 4, 8)));
      all.add(new Spoiled("projected", b, c -> c.joint().projected = randn(2, 3, 119)));
      all.add(new Spoiled("projected", b, c -> c.joint().projected = randn(1, 3, 120)));
      all.add(new Spoiled("joint.q", b, c -> c.joint().heads = 4));
      all.add(new Spoiled("joint.q", b, c -> c.joint().qOut = randn(2, 3, 5, 8).transpose(1, 2)));
      all.add(new Spoiled("joint.k", b, c -> c.joint().kOut = randn(2, 5, 2, 8)));
      all.add(new Spoiled("joint.v", b, c -> c.joint().vOut = c.vOut.to(BF16)));
      all.add(new Spoiled("first", b, c -> c.joint().first = 1));
      all.add(new Spoiled("first", b, c -> c.joint().first = -1));
      all.add(new Spoiled("rotation", b, c -> c.joint().rotation = randn(2, 4, 2)));
      all.add(new Spoiled("qWeight", b, c -> c.joint().qWeight = randn(6)));
      all.add(new Spoiled("epsilon", b, c -> c.joint().epsilon = -1));
    }
    all.add(new Spoiled("q ", Backend.CPU, c -> c.q = randn(2, 3, 8, 5).transpose(2, 3)));
    all.add(new Spoiled("k ", Backend.CPU, c -> c.k = randn(2, 3, 6, 8).narrow(2, 0, 5)));
    all.add(new Spoiled("kOut", Backend.CPU, c -> c.kOut = randn(2, 5, 4, 8).narrow(2, 0, 3)));
    all.add(
        new Spoiled(
            "projected", Backend.CPU, c -> c.joint().projected = randn(2, 120, 3).transpose(1, 2)));
    all.add(
        new Spoiled("gradient", Backend.CPU, c -> c.v = randn(2, 3, 5, 8).set_requires_grad(true)));
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
      new Call(setting.backend()).joint().run();
    }
  }
}
