package org.glance4j.cuda;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.concurrent.atomic.AtomicReference;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.NativeLoadException;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.kernel.TestBackends;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class CudaTest {
  @BeforeAll
  static void initialize() {
    NativeRuntime.initialize();
  }

  @Test
  void withoutADeviceEverythingSaysWhatIsMissing() {
    assumeTrue(TestBackends.whyNoCuda() != null, "there is a CUDA device");
    assertThrows(NativeLoadException.class, CudaDevice::all);
    assertThrows(NativeLoadException.class, CudaDevice::current);
    assertThrows(NativeLoadException.class, CudaDevice::releaseCachedMemory);
    assertThrows(NativeLoadException.class, CudaTimer::new);
    NativeLoadException e =
        assertThrows(NativeLoadException.class, () -> CudaGraph.record(() -> {}));
    assertTrue(String.valueOf(e.getMessage()).contains("to fix it"), e.getMessage());
  }

  @Test
  void devicesHaveMemory() {
    assumeTrue(TestBackends.whyNoCuda() == null, TestBackends.whyNoCuda());
    assertFalse(CudaDevice.all().isEmpty());
    CudaDevice device = CudaDevice.current();
    assertTrue(device.freeBytes() > 0 && device.freeBytes() <= device.totalBytes(), "" + device);
  }

  @Test
  void timesWhatTheStreamDoes() {
    assumeTrue(TestBackends.whyNoCuda() == null, TestBackends.whyNoCuda());
    try (CudaTimer timer = new CudaTimer();
        PointerScope scope = new PointerScope()) {
      Tensor x = Backend.CUDA.place(torch.randn(2048, 2048));
      timer.start();
      for (int i = 0; i < 10; i++) {
        torch.matmul(x, x);
      }
      timer.stop();
      assertTrue(timer.elapsedMillis() > 0);
      timer.close();
      assertThrows(IllegalStateException.class, timer::start);
    }
  }

  @Test
  void aGraphReadsItsInputsAnewAtEachLaunch() {
    assumeTrue(TestBackends.whyNoCuda() == null, TestBackends.whyNoCuda());
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Tensor x = Backend.CUDA.place(torch.zeros(16, 16));
      AtomicReference<Tensor> y = new AtomicReference<>();
      Runnable work =
          () -> {
            Tensor doubled = x.mul(new Scalar(2.0));
            y.set(torch.matmul(doubled, doubled).retainReference());
          };
      work.run();
      try (CudaGraph graph = CudaGraph.record(work)) {
        for (int value = 1; value <= 3; value++) {
          x.fill_(new Scalar(value));
          graph.replay();
          // Other work must not take the graph's memory.
          Backend.CUDA.place(torch.randn(64, 64)).mul(new Scalar(2.0));
          assertEquals(
              16 * 4.0 * value * value, requireNonNull(y.get()).mean().item_double(), 1e-3);
        }
        graph.close();
        assertThrows(IllegalStateException.class, graph::replay);
      }
    }
  }

  @Test
  void workThatWaitsIsRefusedAndTheStreamGoesOn() {
    assumeTrue(TestBackends.whyNoCuda() == null, TestBackends.whyNoCuda());
    try (PointerScope scope = new PointerScope()) {
      Tensor x = Backend.CUDA.place(torch.ones(4));
      assertThrows(RuntimeException.class, () -> CudaGraph.record(() -> x.sum().item_double()));
      assertThrows(
          IllegalArgumentException.class,
          () ->
              CudaGraph.record(
                  () -> {
                    throw new IllegalArgumentException("from the work");
                  }));
      assertEquals(4, x.sum().item_double());
    }
  }
}
