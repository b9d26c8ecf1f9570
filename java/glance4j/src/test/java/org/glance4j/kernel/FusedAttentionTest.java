package org.glance4j.kernel;

import static org.glance4j.kernel.Operations.BF16;
import static org.glance4j.kernel.Operations.F16;
import static org.glance4j.kernel.Operations.assertNear;
import static org.glance4j.kernel.Operations.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.List;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;

class FusedAttentionTest {
  @Test
  void areKnownByName() {
    for (FusedAttention attention : FusedAttention.values()) {
      assertEquals(attention, FusedAttention.parse(attention.toString()));
    }
    assertEquals(FusedAttention.CUDNN, FusedAttention.parse("cuDNN"));
    assertEquals(FusedAttention.LIBTORCH, FusedAttention.chosen());
    assertRefused("use libtorch or cudnn", () -> FusedAttention.parse("flash"));
  }

  @Test
  void cudnnsEqualsLibTorchs() {
    assumeTrue(TestBackends.whyNoCuda() == null, TestBackends.whyNoCuda());
    for (ScalarType dtype : List.of(BF16, F16)) {
      try (TestScope scope = TestScope.on(Backend.CUDA);
          NoGradGuard guard = new NoGradGuard()) {
        Tensor q = TestScope.randn(2, 3, 130, 64).to(dtype);
        Tensor k = TestScope.randn(2, 3, 257, 64).to(dtype);
        Tensor v = TestScope.randn(2, 3, 257, 64).to(dtype);
        Tensor expected = FusedAttention.LIBTORCH.attend(q, k, v, 0.125);
        assertNear("cudnn, " + dtype, expected, FusedAttention.CUDNN.attend(q, k, v, 0.125), 1e-2);
      }
    }
  }
}
