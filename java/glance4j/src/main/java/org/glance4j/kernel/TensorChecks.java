package org.glance4j.kernel;

import java.util.Arrays;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Checks of an operation's tensor arguments. Cheap enough to be always on: text is made only for a
 * failure.
 */
final class TensorChecks {
  private TensorChecks() {}

  /**
   * The element type, as a constant that {@code ==} compares; LibTorch's binding returns copies.
   */
  static ScalarType type(Tensor tensor) {
    return tensor.scalar_type().intern();
  }

  /** Fails unless {@code tensor} is of one of {@code types}. */
  static void type(String argument, Tensor tensor, ScalarType... types) {
    ScalarType type = type(tensor);
    for (ScalarType allowed : types) {
      if (type == allowed) {
        return;
      }
    }
    throw new IllegalArgumentException(
        argument + " must be of type " + Arrays.toString(types) + ", not " + type);
  }

  /** Fails unless the two tensors have one shape and one device. */
  static void like(String argument, Tensor tensor, String otherArgument, Tensor other) {
    if (!sameShape(tensor, other)) {
      throw new IllegalArgumentException(
          "%s has shape %s, but %s has %s"
              .formatted(argument, shape(tensor), otherArgument, shape(other)));
    }
    if (!tensor.device().equals(other.device())) {
      throw new IllegalArgumentException(
          "%s is on %s, but %s is on %s"
              .formatted(argument, device(tensor), otherArgument, device(other)));
    }
  }

  /** Fails unless {@code tensor} is where {@code backend} computes. */
  static void on(Backend backend, String argument, Tensor tensor) {
    if (backend == Backend.CUDA ? !tensor.is_cuda() : !tensor.is_cpu()) {
      throw new IllegalArgumentException(
          argument + " is on " + device(tensor) + ", but the backend is " + backend);
    }
  }

  /**
   * Fails if {@code tensor} requires a gradient, which writing behind LibTorch's back would lose.
   */
  static void noGradient(String argument, Tensor tensor) {
    if (tensor.requires_grad()) {
      throw new IllegalArgumentException(
          argument + " requires a gradient, which this operation does not have; detach it");
    }
  }

  /** Fails if {@code value} is NaN or infinite. */
  static void finite(String argument, float value) {
    if (!Float.isFinite(value)) {
      throw new IllegalArgumentException(argument + " must be finite, not " + value);
    }
  }

  private static boolean sameShape(Tensor a, Tensor b) {
    long dimensions = a.dim();
    if (dimensions != b.dim()) {
      return false;
    }
    for (long d = 0; d < dimensions; d++) {
      if (a.size(d) != b.size(d)) {
        return false;
      }
    }
    return true;
  }

  private static String shape(Tensor tensor) {
    return Arrays.toString(tensor.sizes().vec().get());
  }

  private static String device(Tensor tensor) {
    return tensor.device().str().getString();
  }
}
