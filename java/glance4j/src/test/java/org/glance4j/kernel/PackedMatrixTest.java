package org.glance4j.kernel;

import static org.glance4j.kernel.Operations.F32;
import static org.glance4j.kernel.Operations.assertRefused;
import static org.glance4j.kernel.Operations.assertSameBits;
import static org.glance4j.kernel.TestScope.empty;
import static org.glance4j.kernel.TestScope.randn;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.kernel.LoraMatmul.Linear;
import org.glance4j.kernel.Operations.Setting;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class PackedMatrixTest {
  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.Operations#settings")
  void knowsWhatItHolds(Setting setting) {
    try (TestScope scope = TestScope.on(setting.backend());
        PackedMatrix packed = PackedMatrix.of(setting.backend(), matrix(setting, 37, 65))) {
      assertEquals(37, packed.rows());
      assertEquals(65, packed.columns());
      assertEquals(setting.dtype(), packed.dtype());
      assertEquals(setting.backend(), packed.backend());
      long least =
          setting.backend() != Backend.CPU ? 0 : 37L * 65 * (setting.dtype() == F32 ? 4 : 2);
      assertTrue(packed.bytes() >= least, packed + " has " + packed.bytes());
    }
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.Operations#settings")
  void outlivesTheScopeOfItsTensor(Setting setting) throws Exception {
    Operations.withRandom(
        setting,
        what -> {
          Tensor expected = empty(0);
          PackedMatrix packed;
          Tensor x = matrix(setting, 5, 65);
          try (TestScope scope = TestScope.on(setting.backend())) {
            Tensor matrix = matrix(setting, 37, 65);
            expected = product(setting, x, PackedMatrix.of(setting.backend(), matrix));
            expected.retainReference();
            packed = PackedMatrix.of(setting.backend(), matrix);
          }
          assertSameBits(what, expected, product(setting, x, packed));
          packed.close();
          expected.releaseReference();
        });
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.Operations#settings")
  void takesAnyStrides(Setting setting) throws Exception {
    Operations.withRandom(
        setting,
        what -> {
          Tensor x = matrix(setting, 5, 33);
          Tensor matrix = matrix(setting, 18, 33);
          Tensor expected = product(setting, x, PackedMatrix.of(setting.backend(), matrix));
          for (Tensor same :
              List.of(
                  matrix.t().contiguous().t(),
                  Framed.poisoned(3, setting.dtype(), 18, 33).view().copy_(matrix))) {
            PackedMatrix packed = PackedMatrix.of(setting.backend(), same);
            Operations.assertNear(what, expected, product(setting, x, packed), setting.tolerance());
          }
          Tensor row = matrix.narrow(0, 0, 1);
          Tensor repeated =
              product(setting, x, PackedMatrix.of(setting.backend(), row.expand(4, 33)));
          Tensor once = product(setting, x, PackedMatrix.of(setting.backend(), row));
          Operations.assertNear(what, once.expand(5, 4), repeated, setting.tolerance());
        });
  }

  private static Tensor product(Setting setting, Tensor x, PackedMatrix packed) {
    Tensor y = Framed.poisoned(0, setting.dtype(), x.size(0), packed.rows()).view();
    LoraMatmul.on(setting.backend())
        .forward(x, List.of(new Linear(packed, null, y, Activation.NONE, null)));
    return y;
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.Operations#settings")
  void closesOnceAndThenRefuses(Setting setting) {
    try (TestScope scope = TestScope.on(setting.backend())) {
      PackedMatrix packed = PackedMatrix.of(setting.backend(), matrix(setting, 3, 4));
      packed.close();
      packed.close();
      assertThrows(IllegalStateException.class, packed::bytes);
      Tensor x = matrix(setting, 2, 4);
      assertThrows(IllegalStateException.class, () -> product(setting, x, packed));
    }
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.Operations#settings")
  void refusesWhatIsNoMatrix(Setting setting) {
    try (TestScope scope = TestScope.on(setting.backend())) {
      for (Tensor bad :
          List.of(
              randn(4).to(setting.dtype()),
              randn(2, 3, 4).to(setting.dtype()),
              randn(0, 4).to(setting.dtype()),
              randn(4, 0).to(setting.dtype()),
              randn(4, 4).to(ScalarType.Double),
              randn(4, 4).to(ScalarType.Double),
              randn(4, 4).to(ScalarType.Int))) {
        assertRefused("matrix", () -> PackedMatrix.of(setting.backend(), bad));
      }
      if (setting.backend() != Backend.TORCH) {
        Tensor recorded = matrix(setting, 2, 2).set_requires_grad(true);
        assertRefused("matrix", () -> PackedMatrix.of(setting.backend(), recorded));
      }
    }
  }

  private static Tensor matrix(Setting setting, long rows, long columns) {
    return randn(rows, columns).mul(new Scalar(0.25)).to(setting.dtype());
  }
}
