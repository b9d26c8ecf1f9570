package org.glance4j.benchmarks.kernel;

import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.DType;
import org.glance4j.kernel.LoraMatmul;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.kernel.PackedMatrix;

/** What the machine can do: copying of large buffers, and matrix products without anything else. */
public final class CeilingCase {
  /** The operation of {@link #matmul}. */
  public static final String MATMUL = "matmul";

  /** The operation of {@link #copy}. */
  public static final String COPY = "copy";

  /** 256 MB: past every cache. */
  private static final long COPIED = 1L << 26;

  private CeilingCase() {}

  /** One buffer to another, with LibTorch's threads. */
  public static KernelCase copy() {
    KernelCase.Name name =
        new KernelCase.Name(COPY, KernelCase.Family.LARGE, "256 MiB", DType.F32, 0);
    return Inputs.open(
        DType.F32,
        inputs -> {
          Tensor from = inputs.random(1, COPIED);
          Tensor to = inputs.random(1, COPIED);
          return new KernelCase(name, Cost.memory(2.0 * COPIED * Float.BYTES), inputs)
              .with(Contender.PLAIN, turn -> scoped(() -> to.copy_(from)));
        });
  }

  /** {@code x W^T}. */
  public static KernelCase matmul(MatmulShape shape, DType dtype) {
    KernelCase.Name name =
        new KernelCase.Name(MATMUL, KernelCase.Family.LARGE, shape.text(), dtype, 0);
    return Inputs.open(dtype, inputs -> matmul(name, shape, inputs));
  }

  private static KernelCase matmul(KernelCase.Name name, MatmulShape shape, Inputs inputs) {
    Tensor x = inputs.random(1, shape.rows(), shape.inFeatures());
    Tensor weight =
        inputs.random(
            1 / Math.sqrt((double) shape.inFeatures()), shape.outFeatures(), shape.inFeatures());
    PackedMatrix packed = inputs.own(PackedMatrix.of(Place.backend(), weight));
    LoraMatmul matmul = LoraMatmul.on(Place.backend());
    TensorOptions options = Place.options(Inputs.type(name.dtype()));
    long[] sizes = {shape.rows(), shape.outFeatures()};
    check(name, x, weight, packed, matmul, inputs);

    double flops = 2.0 * shape.rows() * shape.inFeatures() * shape.outFeatures();
    double elements = (double) x.numel() + weight.numel() + shape.rows() * shape.outFeatures();
    Cost cost = Cost.matmul(flops, elements * Inputs.bytesPerElement(name.dtype()));
    return new KernelCase(name, cost, inputs)
        .with(
            Contender.OURS,
            turn -> scoped(() -> product(matmul, x, packed, torch.empty(sizes, options, null))))
        .with(Contender.PLAIN, turn -> scoped(() -> torch.linear(x, weight)));
  }

  private static Tensor product(LoraMatmul matmul, Tensor x, PackedMatrix weight, Tensor y) {
    matmul.forward(x, List.of(new LoraMatmul.Linear(weight, null, y, Activation.NONE, null)));
    return y;
  }

  private static void check(
      KernelCase.Name name,
      Tensor x,
      Tensor weight,
      PackedMatrix packed,
      LoraMatmul matmul,
      Inputs inputs) {
    try (PointerScope scope = new PointerScope()) {
      Tensor plain = torch.linear(x, weight);
      Tensor ours = product(matmul, x, packed, torch.empty_like(plain));
      Checks.close(name, "ours beside plain", ours, plain, inputs.seed());
    }
  }

  private static void scoped(Runnable call) {
    try (PointerScope scope = new PointerScope()) {
      call.run();
    }
  }
}
