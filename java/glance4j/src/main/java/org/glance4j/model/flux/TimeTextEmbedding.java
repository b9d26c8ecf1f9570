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
import org.glance4j.model.dit.TimestepEmbedding;
import org.glance4j.weights.Weights;
import org.jspecify.annotations.Nullable;

/** The conditioning vector: the sum of the embedded timestep, guidance and pooled text. */
final class TimeTextEmbedding {
  private static final String NAME = "time_text_embed";

  /** The models are trained on sigma and guidance times this. */
  private static final double INPUT_SCALE = 1000;

  private final Tensor frequencies;
  private final ScalarType dtype;
  private final TimestepEmbedding timestep;
  private final @Nullable EmbeddingMlp guidance;
  private final EmbeddingMlp text;

  /** Takes its linears. */
  TimeTextEmbedding(FluxConfig config, Linears linears, Weights weights) {
    long width = config.width();
    this.frequencies = Sinusoids.keepFrequencies(weights, ScalarType.Float);
    this.dtype = weights.dtype();
    this.timestep = TimestepEmbedding.take(linears, NAME, width, this::sinusoids);
    this.guidance =
        config.guidanceEmbeds()
            ? EmbeddingMlp.take(linears, NAME + ".guidance_embedder", Sinusoids.WIDTH, width)
            : null;
    this.text = EmbeddingMlp.take(linears, NAME + ".text_embedder", config.pooledDim(), width);
  }

  /** The timestep's part. */
  TimestepEmbedding timestep() {
    return timestep;
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
    Tensor time = timestep.forward(timesteps, mix, probe);
    probe.see(NAME, "timestep_embedder", () -> time);
    Tensor sum = time.unflatten(0, -1, pooled.size(0));
    if (guidance != null && guidances != null) {
      Tensor waves = sinusoids(guidances);
      probe.see(NAME, "time_proj", () -> waves);
      Tensor guided = guidance.forward(waves, mix);
      probe.see(NAME, "guidance_embedder", () -> guided);
      sum = sum.add(guided);
    }
    Tensor words = text.forward(pooled, mix);
    probe.see(NAME, "text_embedder", () -> words);
    return sum.add(words).flatten(0, 1);
  }

  /** cos and sin of {@code 1000 x} times each frequency: shape [rows] to [rows, 256]. */
  private Tensor sinusoids(Tensor x) {
    // The product is rounded to the model's type, as in the reference.
    Tensor scaled = x.to(dtype).mul(new Scalar(INPUT_SCALE)).to(ScalarType.Float);
    return Sinusoids.of(torch.outer(scaled, frequencies), dtype);
  }
}
