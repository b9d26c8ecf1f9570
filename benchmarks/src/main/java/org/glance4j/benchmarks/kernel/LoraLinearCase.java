package org.glance4j.benchmarks.kernel;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.DType;
import org.glance4j.benchmarks.kernel.LoraLayer.Activations;
import org.glance4j.benchmarks.kernel.LoraShape.Epilogue;
import org.glance4j.kernel.LoraMatmul;

/**
 * lora_linear. PLAIN is one LibTorch matmul with bias for all linears of the group, stacked.
 * UNFUSED is that matmul and then, for every linear, PEFT's sequence and the epilogue's operation.
 */
final class LoraLinearCase {
  static final String OPERATION = "lora_linear";

  /** Enough weights that none is in a cache when its turn comes again, as in a large model. */
  private static final long LARGE_BYTES = 64L << 20;

  /** The bundled model's transformer: a step walks through all of it. */
  private static final long BUNDLED_ELEMENTS = 5_158_464;

  /** Layers read what the layer before has just written: few, so that caches hold small ones. */
  private static final int ACTIVATIONS = 2;

  private final LoraShape shape;
  private final int batch;
  private final int rank;
  private final DType dtype;
  private final TensorOptions options;
  private final LoraMatmul matmul = LoraMatmul.on(Place.backend());
  private final List<LoraLayer> layers = new ArrayList<>();
  private final List<Activations> activations = new ArrayList<>();

  private LoraLinearCase(LoraShape shape, int batch, int rank, DType dtype, Inputs inputs) {
    this.shape = shape;
    this.batch = batch;
    this.rank = rank;
    this.dtype = dtype;
    this.options = Place.options(Inputs.type(dtype));
    layers.add(LoraLayer.random(shape, rank, inputs));
    for (int i = layerCount(); i > 1; i--) {
      layers.add(layers.get(0).copy(inputs));
    }
    for (int i = 0; i < ACTIVATIONS; i++) {
      activations.add(Activations.random(shape, batch, inputs));
    }
  }

  /** Opens the case and checks its contenders. */
  static KernelCase open(LoraShape shape, int batch, int rank, DType dtype) {
    KernelCase.Name name =
        new KernelCase.Name(OPERATION, shape.family(), shape.text(batch), dtype, rank);
    return Inputs.open(
        dtype,
        inputs -> {
          LoraLinearCase work = new LoraLinearCase(shape, batch, rank, dtype, inputs);
          work.check(name, inputs);
          return new KernelCase(name, work.cost(), inputs)
              .with(Contender.OURS, work::ours)
              .with(Contender.PLAIN, work::plain)
              .with(Contender.UNFUSED, work::unfused);
        });
  }

  private int layerCount() {
    long bytesPerElement = Inputs.bytesPerElement(dtype);
    long bytes =
        shape.family() == KernelCase.Family.LARGE
            ? LARGE_BYTES
            : BUNDLED_ELEMENTS * bytesPerElement;
    long layer = shape.inFeatures() * shape.outFeatures() * bytesPerElement;
    return Math.toIntExact((bytes + layer - 1) / layer);
  }

  private Cost cost() {
    double rows = (double) batch * shape.tokens();
    double in = shape.inFeatures();
    double out = shape.outFeatures();
    double ranks = (double) rank * shape.outs().size();
    double elements = rows * in + in * out + rows * out + ranks * in + rank * out;
    if (shape.outs().stream().anyMatch(one -> one.epilogue() == Epilogue.GATED)) {
      elements += rows * out;
    }
    return Cost.matmul(
        2 * rows * (in * out + in * ranks + rank * out), elements * Inputs.bytesPerElement(dtype));
  }

  private void ours(int turn) {
    try (PointerScope scope = new PointerScope()) {
      layer(turn).fused(matmul, activations(turn), output());
    }
  }

  private void plain(int turn) {
    try (PointerScope scope = new PointerScope()) {
      layer(turn).plain(activations(turn));
    }
  }

  private void unfused(int turn) {
    try (PointerScope scope = new PointerScope()) {
      layer(turn).unfused(activations(turn));
    }
  }

  private LoraLayer layer(int turn) {
    return layers.get(turn % layers.size());
  }

  private Activations activations(int turn) {
    return activations.get(turn % activations.size());
  }

  private Tensor output() {
    return torch.empty(new long[] {batch, shape.tokens(), shape.outFeatures()}, options, null);
  }

  private void check(KernelCase.Name name, Inputs inputs) {
    try (PointerScope scope = new PointerScope()) {
      LoraLayer layer = layers.get(layers.size() - 1);
      Activations in = activations.get(0);
      Tensor y = output().fill_(new Scalar(Double.NaN));
      layer.fused(matmul, in, y);
      List<Tensor> fused = layer.split(y);
      List<Tensor> unfused = layer.unfused(in);
      Tensor rows = Checks.someRows(batch * shape.tokens());
      List<Tensor> exact = layer.exact(in, rows);
      for (int i = 0; i < exact.size(); i++) {
        Tensor ours = fused.get(i);
        Tensor theirs = unfused.get(i);
        Checks.close(name, "ours", LoraLayer.select(ours, rows), exact.get(i), inputs.seed());
        Checks.close(name, "unfused", LoraLayer.select(theirs, rows), exact.get(i), inputs.seed());
        double both = 2 * Checks.tolerance(dtype);
        Checks.close(name, "ours beside unfused", ours, theirs, both, inputs.seed());
      }
    }
  }
}
