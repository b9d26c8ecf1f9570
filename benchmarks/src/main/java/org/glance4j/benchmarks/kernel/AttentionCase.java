package org.glance4j.benchmarks.kernel;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.DType;
import org.glance4j.kernel.SoftmaxAttention;

/**
 * attention, from q, k and v with the heads outside to rows with the heads inside. UNFUSED is
 * LibTorch's own attention, on the CPU in f32 around which bf16 is converted: in bf16 it is far
 * slower. On CUDA ours is one of LibTorch's too.
 */
final class AttentionCase {
  static final String OPERATION = "attention";

  /** Each [batch, heads, tokens, dim]. */
  private record Input(Tensor q, Tensor k, Tensor v) {}

  private final HeadsShape shape;
  private final DType dtype;
  private final SoftmaxAttention ours = SoftmaxAttention.on(Place.backend());
  private final TensorOptions options;
  private final double scale;
  private final List<Input> inputs = new ArrayList<>();

  private AttentionCase(HeadsShape shape, DType dtype, Inputs inputs) {
    this.shape = shape;
    this.dtype = dtype;
    this.options = Place.options(Inputs.type(dtype));
    this.scale = 1 / Math.sqrt((double) shape.dim());
    for (int i = 0; i < shape.copies(); i++) {
      this.inputs.add(new Input(heads(inputs), heads(inputs), heads(inputs)));
    }
  }

  private Tensor heads(Inputs inputs) {
    return inputs.random(1, shape.batch(), shape.heads(), shape.tokens(), shape.dim());
  }

  static KernelCase open(HeadsShape shape, DType dtype) {
    KernelCase.Name name = new KernelCase.Name(OPERATION, shape.family(), shape.text(), dtype, 0);
    return Inputs.open(
        dtype,
        inputs -> {
          AttentionCase work = new AttentionCase(shape, dtype, inputs);
          work.check(name, inputs);
          double bytes = 4 * shape.elements() * Inputs.bytesPerElement(dtype);
          double flops = 4 * shape.elements() * shape.tokens();
          return new KernelCase(name, Cost.matmul(flops, bytes), inputs)
              .with(Contender.OURS, work::runOurs)
              .with(Contender.UNFUSED, work::runUnfused);
        });
  }

  private void runOurs(int turn) {
    try (PointerScope scope = new PointerScope()) {
      fused(inputs.get(turn % inputs.size()));
    }
  }

  private void runUnfused(int turn) {
    try (PointerScope scope = new PointerScope()) {
      unfused(inputs.get(turn % inputs.size()));
    }
  }

  private Tensor fused(Input in) {
    long[] sizes = {shape.batch(), shape.tokens(), shape.heads(), shape.dim()};
    Tensor out = torch.empty(sizes, options, null);
    ours.forward(in.q(), in.k(), in.v(), scale, out);
    return out;
  }

  /** With the scale 1 / sqrt(dim), which is LibTorch's own. */
  private Tensor unfused(Input in) {
    return torch
        .scaled_dot_product_attention(wide(in.q()), wide(in.k()), wide(in.v()))
        .to(Inputs.type(dtype))
        .transpose(1, 2)
        .contiguous();
  }

  private static Tensor wide(Tensor tensor) {
    return tensor.is_cpu() ? tensor.to(ScalarType.Float) : tensor;
  }

  private void check(KernelCase.Name name, Inputs seeds) {
    try (PointerScope scope = new PointerScope()) {
      Input in = inputs.get(0);
      Tensor exact = exact(in);
      Checks.close(name, "ours", fused(in), exact, seeds.seed());
      Checks.close(name, "unfused", unfused(in), exact, seeds.seed());
    }
  }

  private Tensor exact(Input in) {
    Tensor q = in.q().to(ScalarType.Double);
    Tensor k = in.k().to(ScalarType.Double);
    Tensor weights =
        torch.softmax(torch.matmul(q, k.transpose(-1, -2)).mul_(new Scalar(scale)), -1);
    return torch.matmul(weights, in.v().to(ScalarType.Double)).transpose(1, 2);
  }
}
