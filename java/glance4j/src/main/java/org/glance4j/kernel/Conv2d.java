package org.glance4j.kernel;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.MemoryFormat;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * A square convolution of pictures that keeps their size or doubles it, with the norm and the
 * activation before it and the residual behind it, as the layers of a VAE have them:
 *
 * <pre>y = conv(upscale(silu(norm(x)))) + bias + residual</pre>
 *
 * <p>All tensors are f32; pictures have shape [batch, channels, height, width] and are computed in
 * the channels-last layout. {@link Backend#CPU} has a kernel of its own, which normalises, repeats
 * pixels and convolves in one pass; the other backends run LibTorch's operations.
 *
 * <p>Immutable and thread-safe but for {@link #close()}, before which every call must be done.
 */
public final class Conv2d implements AutoCloseable {
  /** What is done with x before it is convolved. */
  public enum Upscale {
    /** Nothing. */
    NONE,
    /** Every pixel is repeated 2 x 2. */
    TWICE
  }

  /**
   * A norm of x.
   *
   * @param kind what it is taken over
   * @param groups of channels, which divides them; 0 for {@link Kind#PIXEL}
   * @param epsilon finite, 0 or more
   * @param weight a factor for each channel, or null for 1
   * @param bias is added to each channel, or null
   */
  public record Norm(
      Kind kind, int groups, double epsilon, @Nullable Tensor weight, @Nullable Tensor bias) {
    /** The norms. */
    public enum Kind {
      /** {@code (x - mean) / sqrt(var + epsilon)} of all pixels and a group of channels. */
      GROUP,
      /** {@code x / max(|x|, epsilon) * sqrt(channels)} of the channels of a pixel. */
      PIXEL
    }
  }

  /** How the kernel adds up, and G of Winograd's forms in {@code glance/conv2d.h}. */
  enum Form {
    DIRECT,
    WINOGRAD(1, 0, 0, 0.5, 0.5, 0.5, 0.5, -0.5, 0.5, 0, 0, 1),
    WINOGRAD_UPSCALED(1, 0, 0, 1, 1, 1, 0, 0, 1);

    private final double[] g;

    Form(double... g) {
      this.g = g;
    }
  }

  final Backend backend;
  final int kernel;
  final long in;
  final long out;
  final @Nullable Tensor bias;
  final @Nullable Norm norm;
  final boolean silu;
  final Upscale upscale;

  /** The weight itself where LibTorch computes. */
  final @Nullable Tensor weight;

  /** How the kernel adds up, where it computes. */
  final Form form;

  /** The weight in that form. */
  final @Nullable PackedMatrix packed;

  private Conv2d(
      Backend backend,
      Tensor weight,
      @Nullable Tensor bias,
      @Nullable Norm norm,
      boolean silu,
      Upscale upscale) {
    this.backend = backend;
    this.kernel = (int) weight.size(2);
    this.in = weight.size(1);
    this.out = weight.size(0);
    this.bias = bias;
    this.norm = norm;
    this.silu = silu;
    this.upscale = upscale;
    this.weight = backend == Backend.CPU ? null : weight;
    this.form = form(weight, upscale);
    this.packed = backend == Backend.CPU ? pack(weight, form) : null;
  }

  /**
   * The operation on a backend, with its weights. On {@link Backend#CPU} they are packed, and the
   * weight is free again; bias, the norm's tensors and elsewhere the weight must outlive this
   * object.
   *
   * @param weight f32 [out, in, kernel, kernel]; the kernel is 1 or 3
   * @param bias [out], or null
   * @param norm of x, or null
   * @param silu true to apply SiLU before the convolution
   * @throws IllegalArgumentException that names the argument, for shapes and types that do not fit
   * @throws org.glance4j.NativeLoadException if the backend cannot run on this machine
   */
  public static Conv2d on(
      Backend backend,
      Tensor weight,
      @Nullable Tensor bias,
      @Nullable Norm norm,
      boolean silu,
      Upscale upscale) {
    Backend resolved = backend.resolve();
    TensorChecks.type("weight", weight, ScalarType.Float);
    if (weight.dim() != 4
        || weight.size(2) != weight.size(3)
        || (weight.size(2) != 1 && weight.size(2) != 3)
        || weight.numel() == 0) {
      throw new IllegalArgumentException(
          "weight has shape %s; it must have [out, in, kernel, kernel] with kernel 1 or 3"
              .formatted(TensorChecks.shape(weight)));
    }
    if (upscale == Upscale.TWICE && weight.size(2) != 3) {
      throw new IllegalArgumentException("upscale is for a kernel of 3, not " + weight.size(2));
    }
    vector("bias", bias, weight.size(0));
    if (norm != null) {
      check(norm, weight.size(1));
    }
    return new Conv2d(resolved, weight, bias, norm, silu, upscale);
  }

  private static void check(Norm norm, long channels) {
    vector("norm.weight", norm.weight(), channels);
    vector("norm.bias", norm.bias(), channels);
    boolean group = norm.kind() == Norm.Kind.GROUP;
    if (group ? norm.groups() < 1 || channels % norm.groups() != 0 : norm.groups() != 0) {
      throw new IllegalArgumentException(
          group
              ? "norm.groups %d must divide the %d channels".formatted(norm.groups(), channels)
              : "norm.groups must be 0 for PIXEL, not " + norm.groups());
    }
    if (!(norm.epsilon() >= 0 && norm.epsilon() <= Float.MAX_VALUE)) {
      throw new IllegalArgumentException(
          "norm.epsilon must be finite and 0 or more, not " + norm.epsilon());
    }
  }

  private static void vector(String argument, @Nullable Tensor vector, long length) {
    if (vector != null) {
      TensorChecks.type(argument, vector, ScalarType.Float);
      TensorChecks.shape(argument, vector, length);
      if (!vector.is_contiguous()) {
        throw new IllegalArgumentException(argument + " must be contiguous");
      }
    }
  }

  /**
   * The form of {@code glance/conv2d.h} that is the faster one. Winograd's, with 4/9 of the
   * products (1/4 with repeated pixels, which have no other form), needs a whole number of vectors
   * of channels, or its transforms cost more than it saves; and few outputs are not computed as
   * matrix products, and gain nothing by smaller ones.
   */
  private static Form form(Tensor weight, Upscale upscale) {
    if (upscale == Upscale.TWICE) {
      return Form.WINOGRAD_UPSCALED;
    }
    boolean gains = weight.size(1) % 16 == 0 && weight.size(0) > 4;
    return weight.size(2) == 3 && gains ? Form.WINOGRAD : Form.DIRECT;
  }

  private static PackedMatrix pack(Tensor weight, Form form) {
    try (PointerScope scope = new PointerScope()) {
      Tensor taps = form == Form.DIRECT ? weight : transformed(weight, form.g);
      // [out, row, column, in], the order in which the kernel adds up.
      return PackedMatrix.of(Backend.CPU, taps.permute(0, 2, 3, 1).flatten(1, 3));
    }
  }

  /** {@code G W G^T}, rounded once. */
  private static Tensor transformed(Tensor weight, double[] g) {
    Tensor right = torch.tensor(g).view(-1, 3).t();
    Tensor rows = weight.to(ScalarType.Double).transpose(2, 3).matmul(right);
    return rows.transpose(2, 3).matmul(right).to(ScalarType.Float);
  }

  /** Where this runs: never {@link Backend#AUTO}. */
  public Backend backend() {
    return backend;
  }

  /** True if the weight that it was made of is not read any more. */
  public boolean ownsWeight() {
    return weight == null;
  }

  /**
   * Convolves.
   *
   * @param x [batch, in, height, width]; copied first unless it is channels-last
   * @param residual null, or of the result's shape
   * @return a new tensor [batch, out, height, width], twice as high and wide with {@link
   *     Upscale#TWICE}; channels-last
   * @throws IllegalArgumentException that names the argument, for shapes, types or devices that do
   *     not fit
   */
  public Tensor forward(Tensor x, @Nullable Tensor residual) {
    TensorChecks.type("x", x, ScalarType.Float);
    if (x.dim() != 4 || x.size(1) != in || x.numel() == 0) {
      throw new IllegalArgumentException(
          "x has shape %s; it must have [batch, %d, height, width], none of them 0"
              .formatted(TensorChecks.shape(x), in));
    }
    long times = upscale == Upscale.TWICE ? 2 : 1;
    long[] shape = {x.size(0), out, times * x.size(2), times * x.size(3)};
    if (residual != null) {
      TensorChecks.type("residual", residual, ScalarType.Float);
      TensorChecks.shape("residual", residual, shape);
    }
    if (backend != Backend.CPU) {
      return TorchConv2d.forward(this, x, residual);
    }
    operand("x", x);
    if (residual != null) {
      operand("residual", residual);
    }
    return NativeConv2d.forward(this, x, residual, shape);
  }

  private static void operand(String argument, Tensor tensor) {
    TensorChecks.on(Backend.CPU, argument, tensor);
    TensorChecks.noGradient(argument, tensor);
  }

  /** {@code tensor}, or a copy of it, with the channels of a pixel side by side. */
  static Tensor channelsLast(Tensor tensor) {
    return tensor.contiguous(MemoryFormat.ChannelsLast);
  }

  /** Frees the packed weights. Idempotent. */
  @Override
  public void close() {
    if (packed != null) {
      packed.close();
    }
  }
}
