package org.glance4j.benchmarks.kernel;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.DType;
import org.glance4j.kernel.NativeRuntime;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class KernelCaseTest {
  @BeforeAll
  static void load() {
    NativeRuntime.initialize();
  }

  /** Opening a case compares its contenders; then each runs on all of its inputs. */
  @ParameterizedTest
  @EnumSource
  void smallCasesCheckThemselvesAndRun(DType dtype) {
    List<KernelCase> cases =
        List.of(
            LoraLinearCase.open(LoraShape.BUNDLED_SINGLE_IN, 2, 16, dtype),
            LoraLinearCase.open(LoraShape.BUNDLED_TEXT_OUT, 2, 32, dtype),
            FlowStepCase.open(FlowShape.BUNDLED_CFG, dtype),
            ModulatedNormCase.open(RowsShape.BUNDLED_IMAGE, dtype),
            GatedSumCase.open(RowsShape.BUNDLED_IMAGE, dtype),
            QkNormRopeCase.open(HeadsShape.BUNDLED_JOINT_HEADS, dtype),
            LoraBackwardCase.open(BackwardShape.BUNDLED_LINEAR, 16, dtype));
    for (KernelCase one : cases) {
      for (Contender contender : one.contenders()) {
        for (int turn : new int[] {0, 1, 5, Integer.MAX_VALUE}) {
          assertDoesNotThrow(() -> one.run(contender, turn), one.name().toString());
        }
      }
      one.close();
    }
  }

  @Test
  void refusesContendersItDoesNotHave() {
    try (KernelCase one = FlowStepCase.open(FlowShape.BUNDLED_CFG, DType.F32)) {
      assertThrows(IllegalArgumentException.class, () -> one.run(Contender.PLAIN, 0));
    }
  }

  @Test
  void catalogueNamesEveryOperation() {
    Set<String> operations = new HashSet<>();
    Catalogue.cases(true).forEach(entry -> operations.add(entry.operation()));
    assertEquals(
        Set.of(
            "attention",
            "conv2d",
            "lora_linear",
            "flow_step",
            "modulated_norm",
            "gated_residual",
            "qk_norm_rope",
            "lora_linear_backward"),
        operations);
    assertTrue(Catalogue.cases(false).size() > Catalogue.cases(true).size());
  }

  @Test
  void checkSeesAWrongElementAndNaN() {
    KernelCase.Name name =
        new KernelCase.Name("test", KernelCase.Family.BUNDLED, "64", DType.F32, 0);
    try (PointerScope scope = new PointerScope()) {
      Tensor expected = torch.ones(64);
      Tensor near = expected.mul(new Scalar(1 + 1e-6));
      Tensor wrong = expected.clone();
      wrong.select(0, 63).fill_(new Scalar(1.001));
      Tensor nan = expected.clone();
      nan.select(0, 7).fill_(new Scalar(Double.NaN));
      assertDoesNotThrow(() -> Checks.close(name, "near", near, expected, 1e-5, 1));
      assertThrows(
          IllegalStateException.class, () -> Checks.close(name, "wrong", wrong, expected, 1e-5, 1));
      assertThrows(
          IllegalStateException.class, () -> Checks.close(name, "NaN", nan, expected, 1e-5, 1));
    }
  }

  @Test
  void shapesReadLikeTheirNumbers() {
    assertEquals("96 x 192 -> 3x192 + 768 gelu", LoraShape.BUNDLED_SINGLE_IN.text(2));
    assertEquals("1024 x 12288 -> 3072 gate+residual", LoraShape.LARGE_MLP_DOWN.text(1));
  }
}
