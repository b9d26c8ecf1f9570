package org.glance4j.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class NativeRuntimeTest {
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
  void torchAloneGivesThreadsBack() {
    try (NativeRuntime.TorchAlone alone = NativeRuntime.torchAlone()) {
      assertEquals(1, torch.get_num_threads());
    }
    assertEquals(2, torch.get_num_threads());
  }
}
