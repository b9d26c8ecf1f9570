package org.glance4j.model.qwen;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.model.Linears;
import org.glance4j.model.dit.Sinusoids;
import org.glance4j.model.dit.TimestepEmbedding;
import org.glance4j.weights.Weights;

/** How Qwen-Image embeds timesteps, which are its whole conditioning vector. */
final class QwenTimesteps {
  /** Also what the reference calls the vector. */
  static final String NAME = "time_text_embed";

  /** The models are trained on sigma times this. */
  private static final double INPUT_SCALE = 1000;

  private QwenTimesteps() {}

  static TimestepEmbedding take(QwenConfig config, Linears linears, Weights weights) {
    ScalarType dtype = weights.dtype();
    // The frequencies are rounded to the model's type, as in the reference.
    Tensor frequencies = Sinusoids.keepFrequencies(weights, dtype);
    return TimestepEmbedding.take(
        linears, NAME, config.width(), timesteps -> sinusoids(timesteps, frequencies, dtype));
  }

  private static Tensor sinusoids(Tensor timesteps, Tensor frequencies, ScalarType dtype) {
    Tensor rounded = timesteps.to(dtype).to(ScalarType.Float);
    Tensor angles = torch.outer(rounded, frequencies).mul(new Scalar(INPUT_SCALE));
    return Sinusoids.of(angles, dtype);
  }
}
