package org.glance4j.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.concurrent.CompletableFuture;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.jni.Kernels;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

@ExtendWith(TwoThreads.class)
class NativeRuntimeTest {
  @Test
  void torchAloneGivesThreadsBack() {
    try (NativeRuntime.TorchAlone alone = NativeRuntime.torchAlone()) {
      assertThreads(1);
      CompletableFuture.runAsync(NativeRuntimeTest::aloneToo).join();
      assertThreads(1);
    }
    assertThreads(2);
  }

  private static void aloneToo() {
    try (NativeRuntime.TorchAlone alone = NativeRuntime.torchAlone()) {
      assertThreads(1);
    }
  }

  /** Of LibTorch, and of the OpenBLAS that it calls. */
  private static void assertThreads(int expected) {
    assertEquals(expected, torch.get_num_threads());
    if (NativeLibrary.failure() == null) {
      assertEquals(expected, Kernels.glance_set_openblas_threads(0));
    }
  }
}
