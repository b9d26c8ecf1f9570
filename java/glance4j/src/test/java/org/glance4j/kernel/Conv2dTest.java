package org.glance4j.kernel;

import static org.glance4j.kernel.Operations.F32;
import static org.glance4j.kernel.Operations.assertNear;
import static org.glance4j.kernel.Operations.assertRefused;
import static org.glance4j.kernel.Operations.assertSameBits;
import static org.glance4j.kernel.Operations.wide;
import static org.glance4j.kernel.TestScope.randn;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.MemoryFormat;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Conv2d.Norm;
import org.glance4j.kernel.Conv2d.Norm.Kind;
import org.glance4j.kernel.Conv2d.Upscale;
import org.glance4j.kernel.Operations.Setting;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class Conv2dTest {
  private static final double EPSILON = 1e-6;

  record Case(
      Setting setting,
      long batch,
      long in,
      long out,
      long height,
      long width,
      long kernel,
      @Nullable Kind norm,
      int groups,
      boolean silu,
      Upscale upscale,
      boolean residual)
      implements Operations.Placed {}

  static Stream<Case> cases() {
    List<Case> cases = new ArrayList<>();
    for (Backend backend : TestBackends.all()) {
      Setting on = new Setting(backend, F32);
      cases.add(new Case(on, 1, 16, 96, 8, 8, 3, null, 0, false, Upscale.NONE, false));
      cases.add(new Case(on, 2, 12, 12, 9, 7, 3, Kind.GROUP, 3, true, Upscale.NONE, true));
      cases.add(new Case(on, 2, 16, 12, 9, 7, 3, Kind.GROUP, 4, true, Upscale.NONE, true));
      cases.add(new Case(on, 1, 5, 3, 33, 17, 3, Kind.PIXEL, 0, true, Upscale.NONE, false));
      cases.add(new Case(on, 1, 8, 24, 6, 10, 3, null, 0, false, Upscale.TWICE, false));
      cases.add(new Case(on, 2, 8, 24, 5, 4, 3, Kind.GROUP, 2, true, Upscale.TWICE, true));
      cases.add(new Case(on, 3, 7, 11, 5, 6, 1, null, 0, false, Upscale.NONE, true));
      cases.add(new Case(on, 1, 6, 4, 1, 1, 1, Kind.PIXEL, 0, false, Upscale.NONE, false));
    }
    return cases.stream();
  }

  @ParameterizedTest
  @MethodSource("cases")
  void equalsTheFormula(Case c) throws Exception {
    Operations.withRandom(
        c,
        what -> {
          Tensor x = randn(c.batch(), c.in(), c.height(), c.width());
          Tensor weight = randn(c.out(), c.in(), c.kernel(), c.kernel());
          Tensor bias = randn(c.out());
          Norm norm =
              c.norm() == null
                  ? null
                  : new Norm(c.norm(), c.groups(), EPSILON, randn(c.in()), randn(c.in()));
          Tensor expected = formula(c, x, weight, bias, norm);
          Tensor residual = c.residual() ? torch.randn_like(expected.to(F32)) : null;
          if (residual != null) {
            expected = expected.add(residual.to(ScalarType.Double));
          }
          try (Conv2d conv =
              Conv2d.on(c.setting().backend(), weight, bias, norm, c.silu(), c.upscale())) {
            Tensor y = conv.forward(x, residual);
            assertNear(what, expected, y, c.setting().tolerance());
            assertTrue(y.is_contiguous(MemoryFormat.ChannelsLast), what);
            Tensor last = x.contiguous(MemoryFormat.ChannelsLast);
            assertSameBits(what + ", channels-last", y, conv.forward(last, residual));
          }
        });
  }

  private static Tensor formula(Case c, Tensor x, Tensor weight, Tensor bias, @Nullable Norm norm) {
    Tensor u = wide(x);
    if (norm != null && norm.kind() == Kind.GROUP) {
      Tensor groups = u.view(c.batch(), c.groups(), -1);
      Tensor centred = groups.sub(groups.mean(new long[] {-1}, true, null));
      Tensor variance = centred.square().mean(new long[] {-1}, true, null);
      u = centred.div(variance.add(new Scalar(EPSILON)).sqrt()).view(x.sizes());
    } else if (norm != null) {
      Tensor square = u.square().mean(new long[] {1}, true, null);
      u = u.div(square.sqrt());
    }
    if (norm != null) {
      u = u.mul(perChannel(norm.weight())).add(perChannel(norm.bias()));
    }
    if (c.silu()) {
      u = u.mul(u.sigmoid());
    }
    if (c.upscale() == Upscale.TWICE) {
      long[] size = {2 * c.height(), 2 * c.width()};
      u = torch.upsample_nearest2d(u, size, new DoubleOptional(), new DoubleOptional());
    }
    long[] padding = {c.kernel() / 2, c.kernel() / 2};
    long[] one = {1, 1};
    return torch.conv2d(u, wide(weight), new TensorOptional(wide(bias)), one, padding, one, 1);
  }

  private static Tensor perChannel(@Nullable Tensor vector) {
    return wide(Objects.requireNonNull(vector)).view(1, -1, 1, 1);
  }

  /** A pixel of zeros stays one: its length is not divided by. */
  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void normalizesZeros(Backend backend) throws Exception {
    Operations.withRandom(
        new Setting(backend, F32),
        what -> {
          Norm norm = new Norm(Kind.PIXEL, 0, EPSILON, null, null);
          Tensor x = randn(1, 8, 2, 3);
          x.select(3, 1).zero_();
          Tensor one = TestScope.placed(torch.eye(8)).view(8, 8, 1, 1);
          try (Conv2d conv = Conv2d.on(backend, one, null, norm, false, Upscale.NONE)) {
            Tensor y = conv.forward(x, null);
            assertTrue(y.select(3, 1).eq(new Scalar(0)).all().item_bool(), what);
            assertTrue(y.select(3, 0).ne(new Scalar(0)).all().item_bool(), what);
          }
        });
  }

  @Test
  void bitsDoNotDependOnThreads() throws Exception {
    Operations.withRandom(
        "bits",
        what -> {
          Norm norm = new Norm(Kind.GROUP, 4, EPSILON, randn(16), randn(16));
          Tensor x = randn(2, 16, 31, 40);
          int threads = torch.get_num_threads();
          try (Conv2d conv =
              Conv2d.on(Backend.CPU, randn(20, 16, 3, 3), null, norm, true, Upscale.TWICE)) {
            NativeRuntime.setThreads(1);
            Tensor alone = conv.forward(x, null);
            for (int count = 2; count <= 4; count++) {
              NativeRuntime.setThreads(count);
              assertSameBits(what + ", threads " + count, alone, conv.forward(x, null));
            }
          } finally {
            NativeRuntime.setThreads(threads);
          }
        });
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.Operations#settings")
  void refusesWhatDoesNotFit(Setting setting) {
    if (setting.dtype() != F32) {
      return;
    }
    Backend backend = setting.backend();
    try (TestScope scope = TestScope.on(backend);
        NoGradGuard guard = new NoGradGuard()) {
      Tensor weight = randn(6, 4, 3, 3);
      assertRefused("weight", () -> conv(backend, randn(6, 4, 3), null, null));
      assertRefused("weight", () -> conv(backend, randn(6, 4, 3, 1), null, null));
      assertRefused("weight", () -> conv(backend, randn(6, 4, 5, 5), null, null));
      assertRefused("weight", () -> conv(backend, weight.to(ScalarType.BFloat16), null, null));
      assertRefused("bias", () -> conv(backend, weight, randn(5), null));
      assertRefused("groups", () -> conv(backend, weight, null, group(3, EPSILON)));
      assertRefused("groups", () -> conv(backend, weight, null, group(0, EPSILON)));
      assertRefused("epsilon", () -> conv(backend, weight, null, group(2, Double.NaN)));
      assertRefused(
          "norm.weight",
          () -> conv(backend, weight, null, new Norm(Kind.PIXEL, 0, EPSILON, randn(3), null)));
      assertRefused(
          "upscale", () -> Conv2d.on(backend, randn(6, 4, 1, 1), null, null, false, Upscale.TWICE));
      Conv2d conv = conv(backend, weight, null, null);
      assertRefused("x", () -> conv.forward(randn(1, 3, 5, 5), null));
      assertRefused("x", () -> conv.forward(randn(4, 5, 5), null));
      assertRefused("x", () -> conv.forward(randn(1, 4, 5, 5).to(ScalarType.Double), null));
      assertRefused("residual", () -> conv.forward(randn(1, 4, 5, 5), randn(1, 4, 5, 5)));
      if (backend == Backend.CPU) {
        Tensor recorded = randn(1, 4, 5, 5).set_requires_grad(true);
        assertRefused("gradient", () -> conv.forward(recorded, null));
      }
    }
  }

  private static Conv2d conv(
      Backend backend, Tensor weight, @Nullable Tensor bias, @Nullable Norm norm) {
    return Conv2d.on(backend, weight, bias, norm, false, Upscale.NONE);
  }

  private static Norm group(int groups, double epsilon) {
    return new Norm(Kind.GROUP, groups, epsilon, null, null);
  }
}
