package org.glance4j.benchmarks.kernel;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.DType;
import org.glance4j.kernel.QkNormRope;

/**
 * qk_norm_rope from one projection of q, k and v to the f32 tensors that LibTorch's attention
 * reads. UNFUSED is LibTorch's sequence: RMS norm of q and k together, weights, complex product,
 * values to f32; its results are views with the heads outside.
 */
final class QkNormRopeCase {
  static final String OPERATION = "qk_norm_rope";

  private static final double EPSILON = 1e-6;

  /** q, k, v: [batch, heads, tokens, dim]. */
  private record Result(Tensor q, Tensor k, Tensor v) {}

  private final HeadsShape shape;
  private final QkNormRope ours = QkNormRope.on(Place.backend());
  private final TensorOptions f32 = Place.options(ScalarType.Float);

  /** [batch, tokens, 3, heads, dim]. */
  private final List<Tensor> projections = new ArrayList<>();

  /** [2, 1, dim]: of q, of k. */
  private final Tensor weights;

  private final Tensor qWeight;
  private final Tensor kWeight;

  /** cos and sin, [tokens, dim / 2, 2], and the same as complex numbers for both q and k. */
  private final Tensor rotation;

  private final Tensor complexRotation;

  private QkNormRopeCase(HeadsShape shape, Inputs inputs) {
    this.shape = shape;
    for (int i = 0; i < shape.copies(); i++) {
      projections.add(
          inputs.random(1, shape.batch(), shape.tokens(), 3, shape.heads(), shape.dim()));
    }
    weights = inputs.random(1, 2, 1, shape.dim());
    try (PointerScope scope = new PointerScope()) {
      qWeight = inputs.keep(weights.select(0, 0).flatten(0, 1));
      kWeight = inputs.keep(weights.select(0, 1).flatten(0, 1));
      Tensor angle = torch.rand(new long[] {shape.tokens(), shape.dim() / 2}, f32);
      angle.mul_(new Scalar(2 * Math.PI));
      rotation = inputs.keep(torch.stack(new TensorVector(angle.cos(), angle.sin()), -1));
      complexRotation = inputs.keep(torch.view_as_complex(rotation.unsqueeze(1).unsqueeze(1)));
    }
  }

  static KernelCase open(HeadsShape shape, DType dtype) {
    KernelCase.Name name = new KernelCase.Name(OPERATION, shape.family(), shape.text(), dtype, 0);
    return Inputs.open(
        dtype,
        inputs -> {
          QkNormRopeCase work = new QkNormRopeCase(shape, inputs);
          work.check(name, inputs);
          double bytes = 3 * shape.elements() * (Inputs.bytesPerElement(dtype) + Float.BYTES);
          return new KernelCase(name, Cost.memory(bytes), inputs)
              .with(Contender.OURS, work::runOurs)
              .with(Contender.UNFUSED, work::runUnfused);
        });
  }

  private void runOurs(int turn) {
    try (PointerScope scope = new PointerScope()) {
      fused(projection(turn));
    }
  }

  private void runUnfused(int turn) {
    try (PointerScope scope = new PointerScope()) {
      unfused(projection(turn));
    }
  }

  private Tensor projection(int turn) {
    return projections.get(turn % projections.size());
  }

  private Result fused(Tensor projection) {
    Result out = new Result(empty(), empty(), empty());
    ours.forward(
        projection.select(2, 0),
        projection.select(2, 1),
        projection.select(2, 2),
        qWeight,
        kWeight,
        EPSILON,
        rotation,
        out.q(),
        out.k(),
        out.v());
    return out;
  }

  private Tensor empty() {
    long[] sizes = {shape.batch(), shape.heads(), shape.tokens(), shape.dim()};
    return torch.empty(sizes, f32, null);
  }

  private Result unfused(Tensor projection) {
    Tensor qk = projection.narrow(2, 0, 2).to(ScalarType.Float);
    Tensor normed =
        torch.rms_norm(
            qk, new long[] {shape.dim()}, new TensorOptional(), new DoubleOptional(EPSILON));
    normed.mul_(weights);
    Tensor pairs = torch.view_as_complex(normed.unflatten(-1, -1, 2));
    Tensor rotated =
        torch.view_as_real(pairs.mul(complexRotation)).flatten(-2, -1).permute(2, 0, 3, 1, 4);
    Tensor values = projection.select(2, 2).transpose(1, 2).to(ScalarType.Float);
    return new Result(rotated.select(0, 0), rotated.select(0, 1), values);
  }

  private void check(KernelCase.Name name, Inputs inputs) {
    try (PointerScope scope = new PointerScope()) {
      Tensor projection = projections.get(0);
      Result fused = fused(projection);
      Result unfused = unfused(projection);
      Tensor values = projection.select(2, 2).transpose(1, 2);
      checkPair(name, "q", fused.q(), unfused.q(), exact(projection.select(2, 0), qWeight), inputs);
      checkPair(name, "k", fused.k(), unfused.k(), exact(projection.select(2, 1), kWeight), inputs);
      checkPair(name, "v", fused.v(), unfused.v(), values, inputs);
    }
  }

  /** Results are f32 whatever the inputs are. */
  private static void checkPair(
      KernelCase.Name name, String what, Tensor ours, Tensor theirs, Tensor exact, Inputs inputs) {
    double tolerance = Checks.tolerance(DType.F32);
    Checks.close(name, "ours, " + what, ours, exact, tolerance, inputs.seed());
    Checks.close(name, "unfused, " + what, theirs, exact, tolerance, inputs.seed());
  }

  /** The formula, channel pair by channel pair, in float64. */
  private Tensor exact(Tensor head, Tensor weight) {
    Tensor x = head.transpose(1, 2).to(ScalarType.Double);
    Tensor square = x.square().sum(new long[] {-1}, true, null);
    Tensor mean = square.div_(new Scalar((double) shape.dim())).add_(new Scalar(EPSILON));
    Tensor pairs = x.div(mean.sqrt_()).mul(weight).unflatten(-1, -1, 2);
    Tensor even = pairs.select(-1, 0);
    Tensor odd = pairs.select(-1, 1);
    Tensor cos = rotation.select(-1, 0).to(ScalarType.Double);
    Tensor sin = rotation.select(-1, 1).to(ScalarType.Double);
    Tensor first = even.mul(cos).sub(odd.mul(sin));
    Tensor second = even.mul(sin).add(odd.mul(cos));
    return torch.stack(new TensorVector(first, second), -1).flatten(-2, -1);
  }
}
