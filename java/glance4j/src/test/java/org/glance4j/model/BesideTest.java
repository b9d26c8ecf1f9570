package org.glance4j.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.kernel.TwoThreads;
import org.glance4j.kernel.jni.Kernels;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

@ExtendWith(TwoThreads.class)
class BesideTest {
  @Test
  void anIdleThreadTakesTheWork() {
    CountDownLatch callerGoesOn = new CountDownLatch(1);
    try (NativeRuntime.TorchAlone alone = NativeRuntime.torchAlone();
        InferenceMode inference = new InferenceMode(true)) {
      assumeTrue(NativeRuntime.torchLeavesThreads());
      try (Beside<Thread> beside =
          Beside.start(
              new Device("cpu"),
              () -> {
                await(callerGoesOn, 60_000);
                assertEquals(1, torch.get_num_threads());
                assertEquals(1, Kernels.glance_threads());
                assertTrue(InferenceMode.is_enabled());
                return Thread.currentThread();
              })) {
        callerGoesOn.countDown();
        assertEquals(1, Kernels.glance_threads());
        assertNotSame(Thread.currentThread(), beside.result());
        assertEquals(2, Kernels.glance_threads());
      }
    }
  }

  @Test
  void withoutAnIdleThreadTheCallerDoesIt() {
    assertRunsHere(new Device("cpu"));
    try (NativeRuntime.TorchAlone alone = NativeRuntime.torchAlone()) {
      assertRunsHere(new Device("cuda"));
    }
    NativeRuntime.setThreads(1);
    try (NativeRuntime.TorchAlone alone = NativeRuntime.torchAlone()) {
      assertRunsHere(new Device("cpu"));
    }
  }

  private static void assertRunsHere(Device device) {
    try (Beside<Thread> beside = Beside.start(device, Thread::currentThread)) {
      assertSame(Thread.currentThread(), beside.result());
    }
  }

  @Test
  void whatItThrowsReachesTheCaller() {
    IllegalStateException thrown = new IllegalStateException("x");
    try (NativeRuntime.TorchAlone alone = NativeRuntime.torchAlone()) {
      assumeTrue(NativeRuntime.torchLeavesThreads());
      try (Beside<Void> beside = Beside.start(new Device("cpu"), () -> fail(thrown))) {
        assertSame(thrown, assertThrows(IllegalStateException.class, beside::result));
      }
      assertEquals(2, Kernels.glance_threads());
    }
  }

  private static Void fail(RuntimeException thrown) {
    throw thrown;
  }

  @Test
  void closingWaits() {
    AtomicBoolean done = new AtomicBoolean();
    try (NativeRuntime.TorchAlone alone = NativeRuntime.torchAlone()) {
      assumeTrue(NativeRuntime.torchLeavesThreads());
      try (Beside<Boolean> beside =
          Beside.start(
              new Device("cpu"),
              () -> {
                assertThrows(AssertionError.class, () -> await(new CountDownLatch(1), 200));
                done.set(true);
                return true;
              })) {
        assertFalse(done.get());
      }
    }
    assertTrue(done.get());
  }

  private static void await(CountDownLatch latch, long millis) {
    try {
      if (!latch.await(millis, TimeUnit.MILLISECONDS)) {
        throw new AssertionError("waited in vain");
      }
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }
}
