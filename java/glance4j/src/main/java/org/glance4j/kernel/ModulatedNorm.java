package org.glance4j.kernel;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.LoraMatmul.Adapter;
import org.glance4j.kernel.LoraMatmul.Segment;
import org.jspecify.annotations.Nullable;

/**
 * A layer's normalised and modulated input, and optionally the LoRA down-projection of it:
 *
 * <pre>
 *   LAYER:  n = (x - mean(x)) / sqrt(var(x) + epsilon)      var over columns, biased
 *   RMS:    n = x / sqrt(mean(x^2) + epsilon)
 *   y = n * (1 + scale) + shift
 *   h = adapter scale * (y A^T)
 * </pre>
 *
 * <p>x has shape [batch, tokens, columns] (or [rows, columns], where each row is a sample). Scale
 * and shift have one vector for each sample: [batch, columns] or [batch, 1, columns]. All tensors
 * are f32, all bf16 or (not on the CPU) all f16. Arithmetic is in f32; {@link Backend#TORCH} rounds
 * between its operations, and records gradients, where the others refuse tensors that require one.
 *
 * <p>LayerNorm: arXiv 1607.06450; RMSNorm: arXiv 1910.07467; scale and shift by adaLN: arXiv
 * 2212.09748. Immutable and thread-safe.
 */
public final class ModulatedNorm {
  /** The normalisations. */
  public enum Norm {
    /** By mean and variance. */
    LAYER,
    /** By the root mean square. */
    RMS
  }

  private final Backend backend;

  private ModulatedNorm(Backend backend) {
    this.backend = backend;
  }

  /**
   * The operation on a backend.
   *
   * @throws org.glance4j.NativeLoadException if the backend cannot run on this machine
   */
  public static ModulatedNorm on(Backend backend) {
    return new ModulatedNorm(backend.resolve());
  }

  /** Where this runs: never {@link Backend#AUTO}. */
  public Backend backend() {
    return backend;
  }

  /**
   * The norm of x as a new tensor.
   *
   * @param x [batch, tokens, columns] or [rows, columns]; each sample's rows evenly spaced
   * @param epsilon 0 or more
   * @param scale null for 0
   * @param shift null for 0
   * @return x's shape, contiguous
   * @throws IllegalArgumentException that names the argument, for shapes, types, devices or layouts
   *     that do not fit
   */
  public Tensor forward(
      Tensor x, Norm norm, double epsilon, @Nullable Tensor scale, @Nullable Tensor shift) {
    check(x, epsilon, scale, shift);
    if (backend == Backend.TORCH) {
      return TorchModulatedNorm.forward(x, norm, epsilon, scale, shift);
    }
    Tensor y = torch.empty_like(x);
    if (!y.is_contiguous()) {
      y.close();
      y = torch.empty(x.sizes(), x.options(), null);
    }
    NativeModulatedNorm.forward(
        backend, x, norm, epsilon, scale, shift, y, null, List.of(), List.of());
    return y;
  }

  /**
   * The norm of x in a given tensor, and the down-projection of it.
   *
   * @param x [batch, tokens, columns] or [rows, columns], in evenly spaced rows
   * @param epsilon 0 or more
   * @param scale null for 0
   * @param shift null for 0
   * @param y x's shape; may be x itself
   * @param h if not null, receives the down-projections: y's rows, as many columns as the largest A
   *     has rows. Rows without an adapter, and columns from their adapter's R on, are not written
   * @param adapters only their {@code down} and {@code scale} are read; empty without h
   * @param segments which rows have which adapter; empty exactly if there are no adapters
   * @throws IllegalArgumentException that names the argument, for shapes, types, devices or layouts
   *     that do not fit
   */
  public void forward(
      Tensor x,
      Norm norm,
      double epsilon,
      @Nullable Tensor scale,
      @Nullable Tensor shift,
      Tensor y,
      @Nullable Tensor h,
      List<Adapter> adapters,
      List<Segment> segments) {
    check(x, epsilon, scale, shift);
    int dtype = TensorChecks.dtype("x", x);
    TensorChecks.operand(backend, dtype, "y", y);
    TensorChecks.like("y", y, "x", x);
    long widest =
        LoraMatmulChecks.adapters(
            backend, dtype, LoraMatmulChecks.rows(x), x.size(x.dim() - 1), adapters, segments);
    if (h != null) {
      LoraMatmulChecks.checkDown(backend, dtype, "y", y, h, widest);
    }
    if ((h == null) != adapters.isEmpty()) {
      throw new IllegalArgumentException("h must be null without adapters and only then");
    }
    if (backend == Backend.TORCH) {
      TorchModulatedNorm.forward(x, norm, epsilon, scale, shift, y, h, adapters, segments);
    } else {
      NativeModulatedNorm.forward(
          backend, x, norm, epsilon, scale, shift, y, h, adapters, segments);
    }
  }

  private void check(Tensor x, double epsilon, @Nullable Tensor scale, @Nullable Tensor shift) {
    int dtype = TensorChecks.dtype("x", x);
    TensorChecks.operand(backend, dtype, "x", x);
    if (x.dim() < 2) {
      throw new IllegalArgumentException(
          "x has shape %s; it must have samples: [batch, ..., columns]"
              .formatted(TensorChecks.shape(x)));
    }
    if (!(epsilon >= 0 && epsilon <= Float.MAX_VALUE)) {
      throw new IllegalArgumentException("epsilon must be finite and 0 or more, not " + epsilon);
    }
    check(dtype, "scale", scale, x);
    check(dtype, "shift", shift, x);
  }

  private void check(int dtype, String argument, @Nullable Tensor vectors, Tensor x) {
    if (vectors != null) {
      TensorChecks.operand(backend, dtype, argument, vectors);
      long rows = LoraMatmulChecks.rows(x);
      SampleVectors.of(argument, vectors, x.size(0), rows, x.size(x.dim() - 1));
    }
  }
}
