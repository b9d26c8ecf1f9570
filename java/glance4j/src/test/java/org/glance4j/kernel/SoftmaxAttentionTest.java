package org.glance4j.kernel;

import static org.glance4j.kernel.Operations.BF16;
import static org.glance4j.kernel.Operations.F32;
import static org.glance4j.kernel.Operations.assertNear;
import static org.glance4j.kernel.Operations.assertRefused;
import static org.glance4j.kernel.Operations.assertSameBits;
import static org.glance4j.kernel.Operations.wide;
import static org.glance4j.kernel.TestScope.empty;
import static org.glance4j.kernel.TestScope.randn;
import static org.glance4j.kernel.TestScope.zeros;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Operations.Setting;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class SoftmaxAttentionTest {
  record Case(Setting setting, long batch, long heads, long queries, long keys, long dim, long gap)
      implements Operations.Placed {
    double scale() {
      return 1 / Math.sqrt((double) dim);
    }
  }

  static Stream<Case> cases() {
    List<Case> cases = new ArrayList<>();
    Operations.settings()
        .forEach(
            setting -> {
              cases.add(new Case(setting, 1, 1, 1, 1, 1, 0));
              cases.add(new Case(setting, 2, 3, 5, 7, 3, 1));
              cases.add(new Case(setting, 1, 2, 15, 33, 65, 3));
              cases.add(new Case(setting, 2, 6, 96, 96, 32, 0));
              cases.add(new Case(setting, 1, 2, 131, 257, 24, 2));
            });
    return cases.stream();
  }

  @ParameterizedTest
  @MethodSource("cases")
  void equalsTheFormula(Case c) throws Exception {
    Operations.withRandom(
        c,
        what -> {
          ScalarType dtype = c.setting().dtype();
          Tensor q =
              Framed.random(c.gap(), dtype, c.batch(), c.heads(), c.queries(), c.dim()).view();
          Tensor k = Framed.random(c.gap(), dtype, c.batch(), c.heads(), c.keys(), c.dim()).view();
          Tensor v = Framed.random(c.gap(), dtype, c.batch(), c.heads(), c.keys(), c.dim()).view();
          Tensor scores =
              torch.matmul(wide(q), wide(k).transpose(-1, -2)).mul(new Scalar(c.scale()));
          Tensor expected = torch.matmul(torch.softmax(scores, -1), wide(v)).transpose(1, 2);
          for (ScalarType outType : List.of(F32, BF16)) {
            Framed out =
                Framed.poisoned(c.gap(), outType, c.batch(), c.queries(), c.heads(), c.dim());
            SoftmaxAttention.on(c.setting().backend()).forward(q, k, v, c.scale(), out.view());
            double tolerance = outType == BF16 ? 1e-2 : c.setting().tolerance();
            assertNear(what, expected, out.view(), tolerance);
            out.assertFrameUntouched(what);
          }
        });
  }

  // LibTorch's attention gives zeros for such a row.
  static Stream<Setting> kernelSettings() {
    return Operations.settings().filter(setting -> setting.backend() == Backend.CPU);
  }

  @ParameterizedTest
  @MethodSource("kernelSettings")
  void aQueryOfNaNSpoilsItsOwnRowOnly(Setting setting) throws Exception {
    Operations.withRandom(
        setting,
        what -> {
          Tensor q = randn(1, 2, 17, 8).to(setting.dtype());
          Tensor k = randn(1, 2, 9, 8).to(setting.dtype());
          q.select(1, 1).select(1, 3).select(1, 0).fill_(new Scalar(Double.NaN));
          Tensor out = zeros(1, 17, 2, 8).to(setting.dtype());
          SoftmaxAttention.on(setting.backend()).forward(q, k, k, 0.3, out);
          Tensor spoilt = out.isnan().any(-1);
          assertTrue(spoilt.select(1, 3).select(1, 1).all().item_bool(), what);
          assertTrue(spoilt.sum().item_long() == 1, what);
        });
  }

  @Test
  void bitsDoNotDependOnThreadsNorOtherQueries() throws Exception {
    Operations.withRandom(
        "bits",
        what -> {
          Tensor q = randn(2, 3, 50, 16);
          Tensor k = randn(2, 3, 70, 16);
          Tensor v = randn(2, 3, 70, 16);
          Tensor out = empty(2, 50, 3, 16);
          SoftmaxAttention attention = SoftmaxAttention.on(Backend.CPU);
          int threads = torch.get_num_threads();
          try {
            NativeRuntime.setThreads(1);
            attention.forward(q, k, v, 0.25, out);
            for (int count = 2; count <= 4; count++) {
              NativeRuntime.setThreads(count);
              Tensor again = empty(2, 50, 3, 16);
              attention.forward(q, k, v, 0.25, again);
              assertSameBits(what + ", threads " + count, out, again);
            }
          } finally {
            NativeRuntime.setThreads(threads);
          }
          Tensor alone = empty(2, 1, 3, 16);
          attention.forward(q.narrow(2, 41, 1), k, v, 0.25, alone);
          assertSameBits(what + ", alone", out.narrow(1, 41, 1), alone);
        });
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.Operations#settings")
  void refusesWhatDoesNotFit(Setting setting) {
    try (TestScope scope = TestScope.on(setting.backend());
        NoGradGuard guard = new NoGradGuard()) {
      SoftmaxAttention attention = SoftmaxAttention.on(setting.backend());
      Tensor q = randn(2, 3, 4, 8).to(setting.dtype());
      Tensor k = randn(2, 3, 5, 8).to(setting.dtype());
      Tensor out = empty(2, 4, 3, 8).to(setting.dtype());
      ScalarType other = setting.dtype() == BF16 ? F32 : BF16;
      attention.forward(q, k, k, 1, out);
      assertRefused("q", () -> attention.forward(q.select(0, 0), k, k, 1, out));
      assertRefused("q", () -> attention.forward(q.to(ScalarType.Double), k, k, 1, out));
      assertRefused("k", () -> attention.forward(q, k.to(other), k, 1, out));
      assertRefused("k", () -> attention.forward(q, k.narrow(2, 0, 0), k, 1, out));
      assertRefused("v", () -> attention.forward(q, k, k.narrow(2, 0, 4), 1, out));
      assertRefused("v", () -> attention.forward(q, k, wider(k), 1, out));
      assertRefused("out", () -> attention.forward(q, k, k, 1, out.transpose(1, 2)));
      assertRefused("scale", () -> attention.forward(q, k, k, Double.NaN, out));
      Tensor recorded = q.clone().set_requires_grad(true);
      assertRefused("gradient", () -> attention.forward(recorded, k, k, 1, out));
      if (setting.backend() == Backend.CPU) {
        assertRefused("overlaps", () -> attention.forward(q, k, k, 1, q.transpose(1, 2)));
      }
    }
  }

  private static Tensor wider(Tensor tensor) {
    return Framed.random(2, TensorChecks.type(tensor), 2, 3, 5, 8).view();
  }
}
