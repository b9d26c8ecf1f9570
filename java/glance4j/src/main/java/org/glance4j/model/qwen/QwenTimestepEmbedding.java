package org.glance4j.model.qwen;

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

/** The conditioning vector: the embedded timestep alone. */
final class QwenTimestepEmbedding {
  private static final String NAME = "time_text_embed";

  /** The models are trained on sigma times this. */
  private static final double INPUT_SCALE = 1000;

  private final Tensor frequencies;
  private final EmbeddingMlp timestep;
  private final ScalarType dtype;

  private QwenTimestepEmbedding(Tensor frequencies, EmbeddingMlp timestep, ScalarType dtype) {
    this.frequencies = frequencies;
    this.timestep = timestep;
    this.dtype = dtype;
  }

  static QwenTimestepEmbedding take(QwenConfig config, Linears linears, Weights weights) {
    // The frequencies are rounded to the model's type, as in the reference.
    return new QwenTimestepEmbedding(
        Sinusoids.keepFrequencies(weights, weights.dtype()),
        EmbeddingMlp.take(linears, NAME + ".timestep_embedder", Sinusoids.WIDTH, config.width()),
        weights.dtype());
  }

  /**
   * Embeds.
   *
   * @param timesteps sigma of each row, shape [rows]
   * @return shape [rows, width]
   */
  Tensor forward(Tensor timesteps, AdapterChoice mix, Probe probe) {
    Tensor sinusoids = sinusoids(timesteps);
    probe.see(NAME, "time_proj", () -> sinusoids);
    Tensor embedding = timestep.forward(sinusoids, mix);
    probe.see(NAME, "", () -> embedding);
    return embedding;
  }

  private Tensor sinusoids(Tensor timesteps) {
    Tensor rounded = timesteps.to(dtype).to(ScalarType.Float);
    Tensor angles = torch.outer(rounded, frequencies).mul(new Scalar(INPUT_SCALE));
    return Sinusoids.of(angles, dtype);
  }
}
