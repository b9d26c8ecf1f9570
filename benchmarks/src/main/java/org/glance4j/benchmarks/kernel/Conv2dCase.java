package org.glance4j.benchmarks.kernel;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.MemoryFormat;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.DType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.Conv2d;
import org.glance4j.kernel.Conv2d.Norm;
import org.glance4j.kernel.Conv2d.Norm.Kind;
import org.glance4j.kernel.Conv2d.Upscale;
import org.jspecify.annotations.Nullable;

/**
 * conv2d in f32, 3 x 3, with what a VAE has before and behind it; UNFUSED is LibTorch's sequence.
 */
final class Conv2dCase {
  static final String OPERATION = "conv2d";

  private static final int GROUPS = 8;
  private static final double EPSILON = 1e-6;

  private final PictureShape shape;
  private final Tensor x;
  private final Tensor weight;
  private final Tensor bias;
  private final Tensor normWeight;
  private final Tensor normBias;
  private final Conv2d ours;
  private final Conv2d unfused;

  private Conv2dCase(PictureShape shape, Inputs inputs) {
    this.shape = shape;
    long channels = shape.channels();
    x =
        inputs.keep(
            inputs
                .random(1, 1, channels, shape.side(), shape.side())
                .contiguous(MemoryFormat.ChannelsLast));
    weight = inputs.random(1 / Math.sqrt(9.0 * channels), channels, channels, 3, 3);
    bias = inputs.random(1, channels);
    normWeight = inputs.random(1, channels);
    normBias = inputs.random(1, channels);
    ours = inputs.own(open(Place.backend()));
    unfused = inputs.own(open(Backend.TORCH));
  }

  private Conv2d open(Backend backend) {
    boolean doubled = shape.doubled();
    Norm norm = doubled ? null : new Norm(Kind.GROUP, GROUPS, EPSILON, normWeight, normBias);
    Upscale upscale = doubled ? Upscale.TWICE : Upscale.NONE;
    return Conv2d.on(backend, weight, bias, norm, !doubled, upscale);
  }

  static KernelCase open(PictureShape shape) {
    KernelCase.Name name =
        new KernelCase.Name(OPERATION, shape.family(), shape.text(), DType.F32, 0);
    return Inputs.open(
        DType.F32,
        inputs -> {
          Conv2dCase work = new Conv2dCase(shape, inputs);
          work.check(name, inputs);
          double values = shape.pixels() * shape.channels();
          double flops = 2 * 9 * values * shape.channels();
          return new KernelCase(name, Cost.matmul(flops, 3 * Float.BYTES * values), inputs)
              .with(Contender.OURS, turn -> work.run(work.ours))
              .with(Contender.UNFUSED, turn -> work.run(work.unfused));
        });
  }

  private void run(Conv2d convolution) {
    try (PointerScope scope = new PointerScope()) {
      convolution.forward(x, residual());
    }
  }

  private @Nullable Tensor residual() {
    return shape.doubled() ? null : x;
  }

  private void check(KernelCase.Name name, Inputs seeds) {
    try (PointerScope scope = new PointerScope()) {
      Tensor exact = exact();
      Checks.close(name, "ours", ours.forward(x, residual()), exact, seeds.seed());
      Checks.close(name, "unfused", unfused.forward(x, residual()), exact, seeds.seed());
    }
  }

  private Tensor exact() {
    Tensor wide = wide(x);
    Tensor u = shape.doubled() ? doubled(wide) : activated(wide);
    long[] one = {1, 1};
    Tensor y = torch.conv2d(u, wide(weight), new TensorOptional(wide(bias)), one, one, one, 1);
    return shape.doubled() ? y : y.add(wide);
  }

  private static Tensor doubled(Tensor wide) {
    long[] size = {2 * wide.size(2), 2 * wide.size(3)};
    return torch.upsample_nearest2d(wide, size, new DoubleOptional(), new DoubleOptional());
  }

  private Tensor activated(Tensor wide) {
    TensorOptional factor = new TensorOptional(wide(normWeight));
    TensorOptional added = new TensorOptional(wide(normBias));
    return torch.silu(torch.group_norm(wide, GROUPS, factor, added, EPSILON, false));
  }

  private static Tensor wide(Tensor tensor) {
    return tensor.to(ScalarType.Double);
  }
}
