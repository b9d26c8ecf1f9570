package org.glance4j.kernel;

import static org.glance4j.kernel.Operations.BF16;
import static org.glance4j.kernel.Operations.assertNear;
import static org.glance4j.kernel.Operations.assertRefused;
import static org.glance4j.kernel.Operations.wide;
import static org.glance4j.kernel.TestScope.randn;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Operations.Setting;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class GatedSumTest {
  record Case(Setting setting, long batch, long tokens, long columns, long gap)
      implements Operations.Placed {}

  static Stream<Case> cases() {
    List<Case> cases = new ArrayList<>();
    Operations.settings()
        .forEach(
            setting -> {
              cases.add(new Case(setting, 1, 1, 1, 0));
              cases.add(new Case(setting, 2, 3, 17, 3));
              cases.add(new Case(setting, 2, 31, 192, 0));
              cases.add(new Case(setting, 3, 5, 131, 1));
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
          Tensor residual =
              Framed.random(c.gap(), dtype, c.batch(), c.tokens(), c.columns()).view();
          Tensor update = Framed.random(1, dtype, c.batch(), c.tokens(), c.columns()).view();
          Tensor gates = randn(c.batch(), 3, c.columns()).to(dtype);
          GatedSum sum = GatedSum.on(c.setting().backend());
          Tensor expected = wide(residual).add(wide(gates.narrow(1, 2, 1)).mul(wide(update)));
          for (Tensor gate : List.of(gates.narrow(1, 2, 1), gates.select(1, 2))) {
            Tensor y = sum.forward(residual, gate, update);
            assertNear(what, expected, y, c.setting().tolerance());
            assertTrue(y.is_contiguous(), what);
          }
        });
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.Operations#settings")
  void refusesWhatDoesNotFit(Setting setting) {
    try (TestScope scope = TestScope.on(setting.backend())) {
      GatedSum sum = GatedSum.on(setting.backend());
      Tensor residual = randn(2, 3, 8).to(setting.dtype());
      Tensor gate = randn(2, 8).to(setting.dtype());
      Tensor update = randn(2, 3, 8).to(setting.dtype());
      ScalarType other = setting.dtype() == BF16 ? ScalarType.Float : BF16;
      sum.forward(residual, gate, update);
      assertRefused("residual", () -> sum.forward(residual.to(ScalarType.Double), gate, update));
      assertRefused("residual", () -> sum.forward(gate.select(0, 0), gate, update));
      assertRefused("gate", () -> sum.forward(residual, gate.to(other), update));
      assertRefused("gate", () -> sum.forward(residual, gate.narrow(0, 0, 1), update));
      assertRefused("gate", () -> sum.forward(residual, update, update));
      assertRefused("update", () -> sum.forward(residual, gate, update.narrow(1, 0, 2)));
      assertRefused("update", () -> sum.forward(residual, gate, update.to(other)));
      if (setting.backend() != Backend.TORCH) {
        Tensor turned = randn(2, 8, 3).to(setting.dtype()).transpose(1, 2);
        assertRefused("update", () -> sum.forward(residual, gate, turned));
        Tensor recorded = update.clone().set_requires_grad(true);
        assertRefused("gradient", () -> sum.forward(residual, gate, recorded));
      }
    }
  }
}
