package org.glance4j.model.flux;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.model.Linears;
import org.glance4j.model.LoraLinears;
import org.glance4j.model.Probe;
import org.glance4j.weights.Weights;
import org.jspecify.annotations.Nullable;

/** The conditioning vector: the sum of the embedded timestep, guidance and pooled text. */
final class TimeTextEmbedding {
  private static final String NAME = "time_text_embed";
  private static final int SINUSOIDS = 128;

  /** The models are trained on sigma and guidance times this. */
  private static final double INPUT_SCALE = 1000;

  private record Mlp(LoraLinears first, LoraLinears second) {
    static Mlp take(Linears linears, String name, long inFeatures, long width) {
      return new Mlp(
          linears.linear(NAME + "." + name + ".linear_1", inFeatures, width),
          linears.linear(NAME + "." + name + ".linear_2", width, width));
    }

    Tensor forward(Tensor x, AdapterChoice mix) {
      return second.forward(torch.silu(first.forward(x, mix)), mix);
    }
  }

  private final Tensor frequencies;
  private final Mlp timestep;
  private final @Nullable Mlp guidance;
  private final Mlp text;

  private TimeTextEmbedding(Tensor frequencies, Mlp timestep, @Nullable Mlp guidance, Mlp text) {
    this.frequencies = frequencies;
    this.timestep = timestep;
    this.guidance = guidance;
    this.text = text;
  }

  static TimeTextEmbedding take(FluxConfig config, Linears linears, Weights weights) {
    long width = config.width();
    return new TimeTextEmbedding(
        keepFrequencies(weights),
        Mlp.take(linears, "timestep_embedder", 2 * SINUSOIDS, width),
        config.guidanceEmbeds()
            ? Mlp.take(linears, "guidance_embedder", 2 * SINUSOIDS, width)
            : null,
        Mlp.take(linears, "text_embedder", config.pooledDim(), width));
  }

  /** {@code 10000^(-j/128)}: the exponent rounded to f32, as in the reference, then the power. */
  private static Tensor keepFrequencies(Weights weights) {
    try (PointerScope scope = new PointerScope()) {
      Tensor index = torch.arange(new Scalar(SINUSOIDS), new TensorOptions(ScalarType.Float));
      Tensor exponent = index.mul(new Scalar(-Math.log(10_000))).div(new Scalar(SINUSOIDS));
      return weights.keep(exponent.to(ScalarType.Double).exp().to(ScalarType.Float));
    }
  }

  /**
   * Embeds.
   *
   * @param timesteps sigma of each row, shape [rows]
   * @param guidances shape [rows]; null where the model has no such input
   * @param pooled shape [rows, pooledDim], in the model's type
   * @return shape [rows, width]
   */
  Tensor forward(
      Tensor timesteps, @Nullable Tensor guidances, Tensor pooled, AdapterChoice mix, Probe probe) {
    ScalarType dtype = pooled.scalar_type();
    Tensor time = timestep.forward(sinusoids(timesteps, dtype, probe), mix);
    probe.see(NAME, "timestep_embedder", () -> time);
    Tensor sum = time;
    if (guidance != null && guidances != null) {
      Tensor guided = guidance.forward(sinusoids(guidances, dtype, probe), mix);
      probe.see(NAME, "guidance_embedder", () -> guided);
      sum = sum.add(guided);
    }
    Tensor words = text.forward(pooled, mix);
    probe.see(NAME, "text_embedder", () -> words);
    return sum.add(words);
  }

  /** cos and sin of {@code 1000 x} times each frequency: shape [rows] to [rows, 256]. */
  private Tensor sinusoids(Tensor x, ScalarType dtype, Probe probe) {
    // The product is rounded to the model's type, as in the reference.
    Tensor scaled = x.to(dtype).mul(new Scalar(INPUT_SCALE)).to(ScalarType.Float);
    Tensor angles = torch.outer(scaled, frequencies);
    Tensor result = torch.cat(new TensorVector(angles.cos(), angles.sin()), 1).to(dtype);
    probe.see(NAME, "time_proj", () -> result);
    return result;
  }
}
