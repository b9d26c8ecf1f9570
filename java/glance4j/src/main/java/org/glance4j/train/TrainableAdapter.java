package org.glance4j.train;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Generator;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraPair;
import org.glance4j.schedule.Phase;
import org.jspecify.annotations.Nullable;

/**
 * An adapter whose matrices are trained. A and B of all linears lie in one flat f32 vector, and so
 * do their gradients and the optimiser's two means, so that a step of the optimiser is a handful of
 * operations whatever the model. For one thread.
 */
final class TrainableAdapter implements AutoCloseable {
  private final int rank;
  private final double alpha;
  private final Map<String, LinearShape> linears;
  private final ScalarType dtype;
  private final Tensor parameters;
  private final Tensor gradients;
  private final Tensor mean;
  private final Tensor square;
  private final Map<String, LoraPair> leaves = new LinkedHashMap<>();
  private final List<Tensor> owned = new ArrayList<>();

  /** The leaves themselves in both phases; null if the model computes in another type. */
  private final @Nullable Map<Phase, AdapterMix> leavesInBoth;

  /**
   * @param linears to adapt, with their widths; at least one
   * @param dtype what the model computes in
   * @param seed of A, which is Gaussian with standard deviation 1 / rank; B is zero
   * @param backend where the model computes
   */
  TrainableAdapter(
      Map<String, LinearShape> linears,
      int rank,
      double alpha,
      ScalarType dtype,
      long seed,
      Backend backend) {
    this.rank = rank;
    this.alpha = alpha;
    this.linears = new TreeMap<>(linears);
    this.dtype = dtype;
    try (PointerScope scope = new PointerScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      long count = this.linears.values().stream().mapToLong(this::parameters).sum();
      this.parameters = keep(backend.place(initial(seed, count)));
      this.gradients = keep(torch.zeros_like(parameters));
      this.mean = keep(torch.zeros_like(parameters));
      this.square = keep(torch.zeros_like(parameters));
      makeLeaves();
    }
    this.leavesInBoth = dtype == ScalarType.Float ? inBoth(leaves) : null;
  }

  private long parameters(LinearShape shape) {
    return rank * (shape.inFeatures() + shape.outFeatures());
  }

  /** One draw for each A in the order of the linears' names, as if it were drawn by itself. */
  private Tensor initial(long seed, long count) {
    Generator generator = torch.make_generator_cpu(seed);
    Tensor values = torch.zeros(new long[] {count}, new TensorOptions(ScalarType.Float));
    long offset = 0;
    for (LinearShape shape : linears.values()) {
      long size = rank * shape.inFeatures();
      Tensor noise =
          torch.randn(
              new long[] {size},
              new GeneratorOptional(generator),
              new TensorOptions(ScalarType.Float));
      values.narrow(0, offset, size).copy_(noise.mul_(new Scalar(1.0 / rank)));
      offset += parameters(shape);
    }
    return values;
  }

  /** Leaves of the graph that share their memory with the vectors, gradients included. */
  private void makeLeaves() {
    long offset = 0;
    for (Map.Entry<String, LinearShape> entry : linears.entrySet()) {
      LinearShape shape = entry.getValue();
      Tensor down = leaf(offset, rank, shape.inFeatures());
      offset += down.numel();
      Tensor up = leaf(offset, shape.outFeatures(), rank);
      offset += up.numel();
      leaves.put(entry.getKey(), new LoraPair(down, up, alpha / rank));
    }
  }

  private Tensor leaf(long offset, long rows, long columns) {
    Tensor leaf = parameters.narrow(0, offset, rows * columns).view(rows, columns).detach();
    leaf.requires_grad_(true);
    leaf.mutable_grad().put(gradients.narrow(0, offset, rows * columns).view(rows, columns));
    return keep(leaf);
  }

  private Tensor keep(Tensor tensor) {
    owned.add(tensor.retainReference());
    return tensor;
  }

  /**
   * The adapter as the model applies it, in both phases: the leaves, always in the same object, or
   * their copies in the model's type, which belong to the caller's scope. Gradients reach the
   * leaves where they are recorded.
   */
  Map<Phase, AdapterMix> mixes() {
    if (leavesInBoth != null) {
      return leavesInBoth;
    }
    Map<String, LoraPair> cast = new LinkedHashMap<>();
    leaves.forEach(
        (name, pair) ->
            cast.put(name, new LoraPair(pair.down().to(dtype), pair.up().to(dtype), pair.scale())));
    return inBoth(cast);
  }

  private static Map<Phase, AdapterMix> inBoth(Map<String, LoraPair> pairs) {
    AdapterMix mix = AdapterMix.of(new LoraAdapter("the adapter in training", pairs));
    return Map.of(Phase.SLOW, mix, Phase.FAST, mix);
  }

  /** The f32 matrices themselves; not to be closed. */
  LoraAdapter trained() {
    return new LoraAdapter("the trained adapter", leaves);
  }

  /** All matrices in one f32 vector, to be changed between steps only. */
  Tensor parameters() {
    return parameters;
  }

  /** Forgets the gradients of the last step. */
  void zeroGradients() {
    gradients.zero_();
  }

  /**
   * Clips the gradients to a norm and takes a step of the optimiser.
   *
   * @param maxNorm what the gradients' Euclidean norm is scaled down to if it is above
   * @param t which step, from 1
   * @return the norm before
   */
  double step(AdamW optimiser, double rate, double maxNorm, int t) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      double norm = gradients.norm().item_double();
      double factor = maxNorm / (norm + 1e-6);
      if (factor < 1) {
        gradients.mul_(new Scalar(factor));
      }
      optimiser.step(parameters, gradients, mean, square, rate, t);
      return norm;
    }
  }

  /** All that a training needs to go on: parameters and both means; live, not copies. */
  Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.putAll(result());
    state.put("mean", mean);
    state.put("square", square);
    return state;
  }

  /** What is left of {@link #state()} once the training is over. */
  Map<String, Tensor> result() {
    return Map.of("parameters", parameters);
  }

  @Override
  public void close() {
    owned.forEach(Tensor::close);
  }
}
