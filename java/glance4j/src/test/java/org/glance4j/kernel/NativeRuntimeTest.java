package org.glance4j.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.bytedeco.openblas.global.openblas_nolapack;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

final class NativeRuntimeTest {
  private int before;

  @BeforeEach
  void setThreads() {
    NativeRuntime.initialize();
    before = torch.get_num_threads();
    NativeRuntime.setThreads(2);
  }

  @AfterEach
  void restoreThreads() {
    NativeRuntime.setThreads(before);
  }

  @Test
  void torchAloneLeavesTheProductsTheirThreads() {
    try (NativeRuntime.TorchAlone alone = NativeRuntime.torchAlone()) {
      assertThreads(1, 2);
    }
    assertThreads(2, 2);
  }

  @Test
  void aloneGivesBackWithTheLastOneClosed() {
    NativeRuntime.Alone first = NativeRuntime.alone();
    NativeRuntime.Alone second = NativeRuntime.alone();
    assertThreads(1, 1);
    second.close();
    second.close();
    assertThreads(1, 1);
    first.close();
    assertThreads(2, 2);
  }

  private static void assertThreads(int torchThreads, int productThreads) {
    assertEquals(torchThreads, torch.get_num_threads(), "LibTorch");
    assertEquals(productThreads, openblas_nolapack.blas_get_num_threads(), "OpenBLAS");
  }
}
