package org.glance4j.model.flux;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.model.Linears;
import org.glance4j.model.Probe;
import org.glance4j.model.dit.EmbeddingMlp;
import org.glance4j.model.dit.Sinusoids;
import org.glance4j.weights.Weights;
import org.jspecify.annotations.Nullable;

/** The conditioning vector: the sum of the embedded timestep, guidance and pooled text. */
final class TimeTextEmbedding {
  private static final String NAME = "time_text_embed";

  /** The models are trained on sigma and guidance times this. */
  private static final double INPUT_SCALE = 1000;

  private final Tensor frequencies;
  private final EmbeddingMlp timestep;
  private final @Nullable EmbeddingMlp guidance;
  private final EmbeddingMlp text;

  private TimeTextEmbedding(
      Tensor frequencies,
      EmbeddingMlp timestep,
      @Nullable EmbeddingMlp guidance,
      EmbeddingMlp text) {
    this.frequencies = frequencies;
    this.timestep = timestep;
    this.guidance = guidance;
    this.text = text;
  }

  static TimeTextEmbedding take(FluxConfig config, Linears linears, Weights weights) {
    long width = config.width();
    return new TimeTextEmbedding(
        Sinusoids.keepFrequencies(weights, ScalarType.Float),
        EmbeddingMlp.take(linears, NAME + ".timestep_embedder", Sinusoids.WIDTH, width),
        config.guidanceEmbeds()
            ? EmbeddingMlp.take(linears, NAME + ".guidance_embedder", Sinusoids.WIDTH, width)
            : null,
        EmbeddingMlp.take(linears, NAME + ".text_embedder", config.pooledDim(), width));
  }

  /**
   * Embeds. Row {@code r} is for sample {@code r % samples}: guidance and text are embedded once
   * for a sample, however many timesteps it has.
   *
   * @param timesteps sigma of each row, shape [rows]
   * @param guidances shape [samples]; null where the model has no such input
   * @param pooled shape [samples, pooledDim], in the model's type
   * @return shape [rows, width]
   */
  Tensor forward(
      Tensor timesteps, @Nullable Tensor guidances, Tensor pooled, AdapterChoice mix, Probe probe) {
    ScalarType dtype = pooled.scalar_type();
    Tensor time = timestep.forward(sinusoids(timesteps, dtype, probe), mix);
    probe.see(NAME, "timestep_embedder", () -> time);
    Tensor sum = time.unflatten(0, -1, pooled.size(0));
    if (guidance != null && guidances != null) {
      Tensor guided = guidance.forward(sinusoids(guidances, dtype, probe), mix);
      probe.see(NAME, "guidance_embedder", () -> guided);
      sum = sum.add(guided);
    }
    Tensor words = text.forward(pooled, mix);
    probe.see(NAME, "text_embedder", () -> words);
    return sum.add(words).flatten(0, 1);
  }

  /** cos and sin of {@code 1000 x} times each frequency: shape [rows] to [rows, 256]. */
  private Tensor sinusoids(Tensor x, ScalarType dtype, Probe probe) {
    // The product is rounded to the model's type, as in the reference.
    Tensor scaled = x.to(dtype).mul(new Scalar(INPUT_SCALE)).to(ScalarType.Float);
    Tensor result = Sinusoids.of(torch.outer(scaled, frequencies), dtype);
    probe.see(NAME, "time_proj", () -> result);
    return result;
  }
}
