package org.glance4j.kernel;

import static org.glance4j.kernel.Operations.BF16;
import static org.glance4j.kernel.Operations.F32;
import static org.glance4j.kernel.Operations.assertNear;
import static org.glance4j.kernel.Operations.assertRefused;
import static org.glance4j.kernel.Operations.weights;
import static org.glance4j.kernel.Operations.wide;
import static org.glance4j.kernel.TestScope.randn;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Operations.Setting;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Against LibTorch's autograd in float64. */
class LoraBackwardTest {
  private static final float SCALE = 0.75f;

  record Case(
      Setting setting, long batch, long tokens, long inputs, long outputs, long rank, long gap)
      implements Operations.Placed {}

  static Stream<Case> cases() {
    List<Case> cases = new ArrayList<>();
    Operations.settings()
        .forEach(
            setting -> {
              cases.add(new Case(setting, 1, 1, 1, 1, 1, 0));
              cases.add(new Case(setting, 2, 3, 17, 13, 5, 3));
              cases.add(new Case(setting, 2, 31, 64, 192, 16, 0));
              cases.add(new Case(setting, 1, 7, 131, 97, 33, 1));
            });
    return cases.stream();
  }

  /** The tensors of a case and their gradients by autograd. */
  private static final class Problem {
    final Tensor x;
    final Tensor dy;
    final Tensor down;
    final Tensor up;
    final Tensor weight;
    final Tensor exactX;
    final Tensor exactDown;
    final Tensor exactUp;

    Problem(Case c) {
      ScalarType dtype = c.setting().dtype();
      x = Framed.random(c.gap(), dtype, c.batch(), c.tokens(), c.inputs()).view();
      dy = Framed.random(c.gap(), dtype, c.batch(), c.tokens(), c.outputs()).view();
      down = weights(dtype, c.inputs(), c.rank(), c.inputs());
      up = weights(dtype, c.rank(), c.outputs(), c.rank());
      weight = weights(dtype, c.inputs(), c.outputs(), c.inputs());
      try (AutoGradMode recording = new AutoGradMode(true)) {
        Tensor wideX = wide(x).detach().set_requires_grad(true);
        Tensor wideDown = wide(down).detach().set_requires_grad(true);
        Tensor wideUp = wide(up).detach().set_requires_grad(true);
        Tensor update = wideX.matmul(wideDown.t()).matmul(wideUp.t());
        Tensor y = wideX.matmul(wide(weight).t()).add(update.mul(new Scalar((double) SCALE)));
        y.mul(wide(dy)).sum().backward();
        exactX = wideX.grad();
        exactDown = wideDown.grad();
        exactUp = wideUp.grad();
      }
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void equalsAutograd(Case c) throws Exception {
    Operations.withRandom(
        c,
        what -> {
          Problem p = new Problem(c);
          Framed dx =
              Framed.poisoned(c.gap(), c.setting().dtype(), c.batch(), c.tokens(), c.inputs());
          Framed dDown = Framed.poisoned(c.gap(), F32, c.rank(), c.inputs());
          Framed dUp = Framed.poisoned(c.gap(), F32, c.outputs(), c.rank());
          LoraBackward backward = LoraBackward.on(c.setting().backend());
          PackedMatrix weight = PackedMatrix.of(c.setting().backend(), p.weight.t());
          backward.backward(
              p.x, p.dy, p.down, p.up, SCALE, weight, dx.view(), dDown.view(), dUp.view(), false);
          double tolerance = c.setting().tolerance();
          assertNear(what + ", dx", p.exactX, dx.view(), tolerance);
          assertNear(what + ", dDown", p.exactDown, dDown.view(), tolerance);
          assertNear(what + ", dUp", p.exactUp, dUp.view(), tolerance);

          backward.backward(
              p.x, p.dy, p.down, p.up, SCALE, null, null, dDown.view(), dUp.view(), true);
          Scalar two = new Scalar(2.0);
          assertNear(what + ", dDown twice", p.exactDown.mul(two), dDown.view(), tolerance);
          assertNear(what + ", dUp twice", p.exactUp.mul(two), dUp.view(), tolerance);
          dx.assertFrameUntouched(what);
          dDown.assertFrameUntouched(what);
          dUp.assertFrameUntouched(what);
        });
  }

  @ParameterizedTest
  @MethodSource("cases")
  void computesOnlyWhatIsAskedFor(Case c) throws Exception {
    Operations.withRandom(
        c,
        what -> {
          Problem p = new Problem(c);
          LoraBackward backward = LoraBackward.on(c.setting().backend());
          Tensor dUp = Framed.poisoned(0, F32, c.outputs(), c.rank()).view();
          backward.backward(p.x, p.dy, p.down, p.up, SCALE, null, null, null, dUp, false);
          assertNear(what, p.exactUp, dUp, c.setting().tolerance());
          Tensor dDown = Framed.poisoned(0, F32, c.rank(), c.inputs()).view();
          backward.backward(p.x, p.dy, p.down, p.up, SCALE, null, null, dDown, null, false);
          assertNear(what, p.exactDown, dDown, c.setting().tolerance());
        });
  }

  /** Arguments of a call that a test spoils one at a time. */
  private static final class Call {
    final Backend backend;
    Tensor x = randn(2, 3, 8);
    Tensor dy = randn(2, 3, 5);
    Tensor down = randn(4, 8);
    Tensor up = randn(5, 4);
    float scale = 1;
    @Nullable PackedMatrix weight;
    @Nullable Tensor dx = randn(2, 3, 8);
    Tensor dDown = randn(4, 8);
    Tensor dUp = randn(5, 4);

    Call(Backend backend) {
      this.backend = backend;
      this.weight = PackedMatrix.of(backend, randn(8, 5));
    }

    void run() {
      LoraBackward.on(backend).backward(x, dy, down, up, scale, weight, dx, dDown, dUp, false);
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
      all.add(new Spoiled("x requires", b, c -> c.x = c.x.set_requires_grad(true)));
      all.add(new Spoiled("dy", b, c -> c.dy = randn(2, 2, 5)));
      all.add(new Spoiled("dy", b, c -> c.dy = c.dy.to(BF16)));
      all.add(new Spoiled("down", b, c -> c.down = randn(4, 7)));
      all.add(new Spoiled("down", b, c -> c.down = randn(8)));
      all.add(new Spoiled("down", b, c -> c.down = c.down.to(BF16)));
      all.add(new Spoiled("up", b, c -> c.up = randn(5, 3)));
      all.add(new Spoiled("up", b, c -> c.up = randn(4, 4)));
      all.add(new Spoiled("scale", b, c -> c.scale = Float.NaN));
      all.add(new Spoiled("weightTransposed", b, c -> c.weight = null));
      all.add(new Spoiled("weightTransposed", b, c -> c.dx = null));
      all.add(new Spoiled("weightTransposed", b, c -> c.weight = PackedMatrix.of(b, randn(5, 8))));
      all.add(new Spoiled("dx", b, c -> c.dx = randn(2, 3, 7)));
      all.add(new Spoiled("dx", b, c -> c.dx = randn(2, 3, 8).to(BF16)));
      all.add(new Spoiled("dDown", b, c -> c.dDown = randn(8, 4)));
      all.add(new Spoiled("dDown", b, c -> c.dDown = randn(4, 8).to(BF16)));
      all.add(new Spoiled("dUp", b, c -> c.dUp = randn(5, 5)));
    }
    all.add(new Spoiled("dUp", Backend.CPU, c -> c.dUp = randn(4, 5).t()));
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
