package org.glance4j.kernel;

import java.util.Arrays;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.jni.Kernels;

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

  /**
   * The ABI's name of the element type: f32, bf16 or f16.
   *
   * @throws IllegalArgumentException if it is another
   */
  static int dtype(String argument, Tensor tensor) {
    // No other floating type has four bytes; asking for the type itself takes much longer.
    if (tensor.itemsize() == Float.BYTES && tensor.is_floating_point()) {
      return Kernels.GLANCE_F32;
    }
    return switch (type(tensor)) {
      case BFloat16 -> Kernels.GLANCE_BF16;
      case Half -> Kernels.GLANCE_F16;
      default ->
          throw new IllegalArgumentException(
              argument + " must be of type Float, BFloat16 or Half, not " + type(tensor));
    };
  }

  /** {@link #dtype(String, Tensor)}, which also fails if {@code backend} cannot compute in it. */
  static int dtype(Backend backend, String argument, Tensor tensor) {
    int dtype = dtype(argument, tensor);
    if (dtype == Kernels.GLANCE_F16 && backend == Backend.CPU) {
      throw new IllegalArgumentException(
          argument
              + " is of type Half, which the kernels on the CPU do not compute in; convert it to"
              + " BFloat16 or Float, or use backend cuda or torch");
    }
    return dtype;
  }

  /** What an argument of a kernel must be: of one type, where the backend computes. */
  static void operand(Backend backend, int dtype, String argument, Tensor tensor) {
    if (dtype(backend, argument, tensor) != dtype) {
      throw new IllegalArgumentException(
          "%s is of type %s, but this call computes in %s; convert one of them"
              .formatted(argument, type(tensor), name(dtype)));
    }
    if (backend != Backend.TORCH) {
      on(backend, argument, tensor);
      noGradient(argument, tensor);
    }
  }

  /** Fails unless {@code tensor} has exactly {@code shape}. */
  static void shape(String argument, Tensor tensor, long... shape) {
    boolean fits = tensor.dim() == shape.length;
    for (int d = 0; fits && d < shape.length; d++) {
      fits = tensor.size(d) == shape[d];
    }
    if (!fits) {
      throw new IllegalArgumentException(
          "%s has shape %s, but must have %s"
              .formatted(argument, shape(tensor), Arrays.toString(shape)));
    }
  }

  /** Fails unless the tensors have the same shape but for the last dimension. */
  static void sameRows(String argument, Tensor tensor, String otherArgument, Tensor other) {
    long dimensions = tensor.dim();
    boolean same = dimensions == other.dim() && dimensions > 0;
    for (long d = 0; same && d < dimensions - 1; d++) {
      same = tensor.size(d) == other.size(d);
    }
    if (!same) {
      throw new IllegalArgumentException(
          "%s has shape %s, which has other rows than %s with %s"
              .formatted(argument, shape(tensor), otherArgument, shape(other)));
    }
  }

  /** Fails unless a matrix was packed for this backend and type. */
  static void packed(Backend backend, int dtype, String argument, PackedMatrix matrix) {
    if (matrix.backend() != backend) {
      throw new IllegalArgumentException(
          "%s was packed for backend %s, but this runs on %s; pack it for that"
              .formatted(argument, matrix.backend(), backend));
    }
    if (matrix.dtype() != name(dtype)) {
      throw new IllegalArgumentException(
          "%s is of type %s, but this call computes in %s; pack it in that type"
              .formatted(argument, matrix.dtype(), name(dtype)));
    }
  }

  private static ScalarType name(int dtype) {
    return switch (dtype) {
      case Kernels.GLANCE_F32 -> ScalarType.Float;
      case Kernels.GLANCE_BF16 -> ScalarType.BFloat16;
      default -> ScalarType.Half;
    };
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
          argument
              + " requires a gradient, which this operation does not record; detach it, or use"
              + " backend torch");
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

  static String shape(Tensor tensor) {
    return Arrays.toString(tensor.sizes().vec().get());
  }

  static String strides(Tensor tensor) {
    return Arrays.toString(tensor.strides().vec().get());
  }

  private static String device(Tensor tensor) {
    return tensor.device().str().getString();
  }
}
