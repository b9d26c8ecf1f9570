package org.glance4j.model.text;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.LoraMatmul;
import org.glance4j.kernel.PackedMatrix;
import org.glance4j.weights.Weights;
import org.jspecify.annotations.Nullable;

/**
 * Takes a text encoder's linears from its weights. On {@link Backend#CPU} those whose weights were
 * converted to f32 run on the kernels, whose packed form takes the place of that copy; LibTorch's
 * products of one take 1.04 to 4 times as long, longest of few rows. All others are LibTorch's:
 * those that lie in the mapped file take no memory there, and bf16 it can compute with instructions
 * (AMX) that the kernels do not use.
 *
 * <p>Filled by one thread while an encoder is built; after that only closed.
 */
final class EncoderLinears implements AutoCloseable {
  /**
   * One of several linears that read the same input: {@code NAME.weight} [out, in] and, if it has
   * one, {@code NAME.bias} [out].
   *
   * @param activation what is done with its result, or null
   */
  record Named(String name, int out, boolean biased, @Nullable Activation activation) {
    static Named withBias(String name, int out) {
      return new Named(name, out, true, null);
    }

    static Named withoutBias(String name, int out) {
      return new Named(name, out, false, null);
    }

    /** The same, with an activation. */
    Named then(Activation following) {
      return new Named(name, out, biased, following);
    }
  }

  private final Weights weights;
  private final Backend backend;
  private final List<PackedMatrix> packed = new ArrayList<>();

  /**
   * @param weights where the linears come from
   * @param backend where the encoder computes, not {@link Backend#AUTO}
   */
  EncoderLinears(Weights weights, Backend backend) {
    this.weights = weights;
    this.backend = backend;
  }

  /** Where the encoder computes. */
  Backend backend() {
    return backend;
  }

  /**
   * Linears that read the same input.
   *
   * @param in the width of their input
   * @param names in the order of their results
   */
  Linear take(int in, Named... names) {
    List<Tensor> taken = new ArrayList<>();
    List<Linear.Part> parts = new ArrayList<>();
    for (Named linear : names) {
      taken.add(weights.take(linear.name() + ".weight", linear.out(), in));
      Tensor bias = linear.biased() ? weights.take(linear.name() + ".bias", linear.out()) : null;
      parts.add(new Linear.Part(bias, linear.activation()));
    }
    return isForKernels(taken)
        ? new Linear.Packed(LoraMatmul.on(backend), pack(taken), parts)
        : new Linear.Torch(taken, parts);
  }

  private boolean isForKernels(List<Tensor> tensors) {
    return backend == Backend.CPU
        && weights.dtype() == ScalarType.Float
        && tensors.stream().noneMatch(weights::isMapped);
  }

  private List<PackedMatrix> pack(List<Tensor> tensors) {
    List<PackedMatrix> matrices = new ArrayList<>();
    for (Tensor tensor : tensors) {
      PackedMatrix matrix = PackedMatrix.of(backend, tensor);
      packed.add(matrix);
      matrices.add(matrix);
      weights.release(tensor);
    }
    return matrices;
  }

  /** Frees what was packed. Idempotent; nothing may be running. */
  @Override
  public void close() {
    packed.forEach(PackedMatrix::close);
  }
}
