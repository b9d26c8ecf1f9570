package org.glance4j.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import java.util.stream.Stream;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.function.Executable;

/** What the tests of the operations share. */
final class Operations {
  static final ScalarType F32 = ScalarType.Float;
  static final ScalarType BF16 = ScalarType.BFloat16;
  static final ScalarType F16 = ScalarType.Half;

  private static final int FEW = 16;
  private static final double LARGEST_TERM = 32;

  static {
    NativeRuntime.initialize();
  }

  private Operations() {}

  /** A test of one setting. */
  interface Placed {
    Setting setting();
  }

  /** Where an operation is tested, and in what. */
  record Setting(Backend backend, ScalarType dtype) implements Placed {
    @Override
    public Setting setting() {
      return this;
    }

    /** The error allowed relative to the norm of the result. */
    double tolerance() {
      return dtype == F32 ? 1e-5 : 1e-2;
    }
  }

  static Stream<Setting> settings() {
    List<Setting> settings = new ArrayList<>();
    for (Backend backend : TestBackends.all()) {
      settings.add(new Setting(backend, F32));
      settings.add(new Setting(backend, BF16));
      if (backend != Backend.CPU) {
        settings.add(new Setting(backend, F16));
      }
    }
    return settings.stream();
  }

  /** A body that throws what it likes. */
  interface Body {
    void run(String what) throws Exception;
  }

  /**
   * Runs {@code body} without gradients, with fresh random numbers, in a scope on the test's
   * backend if it is {@link Placed}, otherwise on the CPU.
   */
  static void withRandom(Object test, Body body) throws Exception {
    long seed = ThreadLocalRandom.current().nextLong() >>> 1;
    Backend backend = test instanceof Placed placed ? placed.setting().backend() : Backend.CPU;
    try (TestScope scope = TestScope.on(backend);
        NoGradGuard guard = new NoGradGuard()) {
      torch.manual_seed(seed);
      body.run(test + ", seed " + seed);
    }
  }

  /** {@code ||actual - expected|| / ||expected||} is within the tolerance. */
  static void assertNear(String what, Tensor expected, Tensor actual, double tolerance) {
    Tensor wide = expected.to(ScalarType.Double);
    Tensor difference = actual.to(ScalarType.Double).sub(wide);
    double norm =
        Math.max(wide.norm().item_double(), Math.max(leastNorm(wide.numel()), Double.MIN_NORMAL));
    double error = difference.norm().item_double() / norm;
    if (!(error <= tolerance)) {
      long worst = difference.abs().flatten().argmax().item_long();
      assertEquals(0, error, tolerance, what + ", worst at flat index " + worst);
    }
  }

  /** The terms of a handful of results may all cancel: then the terms' size is what counts. */
  private static double leastNorm(long count) {
    return count < FEW ? LARGEST_TERM * Math.sqrt((double) count) : 0;
  }

  static void assertSameBits(String what, Tensor expected, Tensor actual) {
    ScalarType bits = TensorChecks.type(expected) == F32 ? ScalarType.Int : ScalarType.Short;
    assertTrue(
        expected.contiguous().view(bits).equal(actual.contiguous().view(bits)),
        () -> what + ": bits differ:\nexpected " + expected + "\nactual " + actual);
  }

  static Tensor wide(Tensor tensor) {
    return tensor.to(ScalarType.Double);
  }

  /** Random values near 1 / sqrt(fanIn), so that products stay near 1. */
  static Tensor weights(ScalarType dtype, long fanIn, long... shape) {
    return TestScope.randn(shape).mul(new Scalar(1 / Math.sqrt((double) fanIn))).to(dtype);
  }

  /** The call fails as an illegal argument, and the message has {@code named}. */
  static void assertRefused(String named, Executable call) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call);
    assertTrue(String.valueOf(e.getMessage()).contains(named), named + ": " + e);
  }
}
