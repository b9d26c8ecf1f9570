package org.glance4j.benchmarks.kernel;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.benchmarks.kernel.LoraShape.Epilogue;
import org.glance4j.benchmarks.kernel.LoraShape.Out;
import org.glance4j.kernel.LoraMatmul;
import org.glance4j.kernel.PackedMatrix;
import org.jspecify.annotations.Nullable;

/** The weights of linears that read one x, with an adapter: as tensors, and packed. */
final class LoraLayer {
  static final float SCALE = 0.75f;

  /**
   * What flows through: x [batch, tokens, in], residual [batch, tokens, out], gate [batch, 1, out].
   */
  record Activations(Tensor x, Tensor residual, Tensor gate) {
    static Activations random(LoraShape shape, int batch, Inputs inputs) {
      return new Activations(
          inputs.random(1, batch, shape.tokens(), shape.inFeatures()),
          inputs.random(1, batch, shape.tokens(), shape.outFeatures()),
          inputs.random(1, batch, 1, shape.outFeatures()));
    }
  }

  /** One linear: rows of the stacked weight. */
  private record Part(
      Out out, Tensor bias, PackedMatrix packed, Tensor down, Tensor up, long firstColumn) {}

  private final LoraShape shape;
  private final int rank;
  private final Tensor weight;
  private final Tensor bias;
  private final Tensor down;
  private final TensorOptional biasOption;
  private final List<Part> parts = new ArrayList<>();
  private final LoraMatmul.Adapter adapter;
  private final Scalar scale = new Scalar(SCALE);

  private LoraLayer(
      LoraShape shape,
      int rank,
      Tensor weight,
      Tensor bias,
      Tensor down,
      List<Tensor> ups,
      Inputs inputs) {
    this.shape = shape;
    this.rank = rank;
    this.weight = weight;
    this.bias = bias;
    this.down = down;
    this.biasOption = new TensorOptional(bias);
    List<LoraMatmul.@Nullable Up> packedUps = new ArrayList<>();
    try (PointerScope scope = new PointerScope()) {
      long first = 0;
      for (Out out : shape.outs()) {
        long firstRank = (long) rank * parts.size();
        Tensor up = ups.get(parts.size());
        parts.add(
            new Part(
                out,
                inputs.keep(bias.narrow(0, first, out.features())),
                pack(weight.narrow(0, first, out.features()), inputs),
                inputs.keep(down.narrow(0, firstRank, rank)),
                up,
                first));
        packedUps.add(new LoraMatmul.Up(pack(up, inputs), firstRank));
        first += out.features();
      }
    }
    adapter = new LoraMatmul.Adapter(pack(down, inputs), packedUps, SCALE);
  }

  static LoraLayer random(LoraShape shape, int rank, Inputs inputs) {
    double deviation = 1 / Math.sqrt((double) shape.inFeatures());
    List<Tensor> ups = new ArrayList<>();
    for (Out out : shape.outs()) {
      ups.add(inputs.random(1 / Math.sqrt(rank), out.features(), rank));
    }
    return new LoraLayer(
        shape,
        rank,
        inputs.random(deviation, shape.outFeatures(), shape.inFeatures()),
        inputs.random(1, shape.outFeatures()),
        inputs.random(deviation, (long) rank * shape.outs().size(), shape.inFeatures()),
        ups,
        inputs);
  }

  /** The same values elsewhere in memory. */
  LoraLayer copy(Inputs inputs) {
    return new LoraLayer(
        shape,
        rank,
        inputs.copy(weight),
        inputs.copy(bias),
        inputs.copy(down),
        parts.stream().map(part -> inputs.copy(part.up())).toList(),
        inputs);
  }

  private static PackedMatrix pack(Tensor matrix, Inputs inputs) {
    return inputs.own(PackedMatrix.of(Place.backend(), matrix));
  }

  /** Writes all linears' results side by side into y. */
  void fused(LoraMatmul matmul, Activations in, Tensor y) {
    List<LoraMatmul.Linear> linears = new ArrayList<>(parts.size());
    for (Part part : parts) {
      linears.add(linear(part, in, y));
    }
    matmul.forward(in.x(), linears, adapter);
  }

  private LoraMatmul.Linear linear(Part part, Activations in, Tensor y) {
    return new LoraMatmul.Linear(
        part.packed(),
        part.bias(),
        y,
        parts.size() == 1 ? LoraMatmul.Linear.WHOLE : part.firstColumn(),
        part.out().epilogue() == Epilogue.GELU
            ? LoraMatmul.Activation.GELU_TANH
            : LoraMatmul.Activation.NONE,
        part.out().epilogue() == Epilogue.GATED
            ? new LoraMatmul.GatedResidual(in.gate(), in.residual())
            : null);
  }

  Tensor plain(Activations in) {
    return torch.linear(in.x(), weight, biasOption);
  }

  List<Tensor> unfused(Activations in) {
    Tensor y = torch.linear(in.x(), weight, biasOption);
    List<Tensor> outputs = new ArrayList<>(parts.size());
    for (Part part : parts) {
      Tensor columns = parts.size() == 1 ? y : columns(y, part);
      Tensor update = torch.linear(torch.linear(in.x(), part.down()), part.up());
      columns.add_(update.mul_(scale));
      outputs.add(finish(part, columns, in.residual(), in.gate()));
    }
    return outputs;
  }

  /** The results of {@link #fused} one by one. */
  List<Tensor> split(Tensor y) {
    return parts.stream().map(part -> columns(y, part)).toList();
  }

  private static Tensor columns(Tensor y, Part part) {
    return y.narrow(-1, part.firstColumn(), part.out().features());
  }

  private static Tensor finish(Part part, Tensor sum, Tensor residual, Tensor gate) {
    return switch (part.out().epilogue()) {
      case NONE -> sum;
      case GELU -> torch.gelu(sum, "tanh");
      case GATED -> torch.addcmul(residual, gate, sum);
    };
  }

  /** The formula in float64, of these rows of the flattened x. */
  List<Tensor> exact(Activations in, Tensor rows) {
    Tensor x = select(in.x(), rows);
    Tensor residual = select(in.residual(), rows);
    Tensor gate = select(in.gate().expand(in.residual().sizes()), rows);
    Tensor y =
        torch.linear(
            x, weight.to(ScalarType.Double), new TensorOptional(bias.to(ScalarType.Double)));
    List<Tensor> outputs = new ArrayList<>();
    for (Part part : parts) {
      Tensor h = torch.linear(x, part.down().to(ScalarType.Double));
      Tensor update = torch.linear(h, part.up().to(ScalarType.Double)).mul_(scale);
      Tensor sum = columns(y, part).add(update);
      outputs.add(finish(part, sum, residual, gate));
    }
    return outputs;
  }

  /** Rows of [batch, tokens, features], flattened, in float64. */
  static Tensor select(Tensor tensor, Tensor rows) {
    return tensor.flatten(0, 1).index_select(0, rows).to(ScalarType.Double);
  }
}
