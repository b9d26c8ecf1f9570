package org.glance4j.model.vae;

import java.util.Collections;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * How a transformer's latents come from the VAE's own, channel by channel: {@code (z - shift) *
 * scaling}.
 *
 * @param shift one value for each latent channel
 * @param scaling one value for each latent channel, none 0
 */
public record LatentScale(List<Double> shift, List<Double> scaling) {
  /** Copies the lists. */
  public LatentScale {
    if (shift.size() != scaling.size()) {
      throw new IllegalArgumentException(
          "%d shifts, but %d scalings".formatted(shift.size(), scaling.size()));
    }
    shift = List.copyOf(shift);
    scaling = List.copyOf(scaling);
  }

  /** The same for each of {@code channels}. */
  static LatentScale uniform(int channels, double shift, double scaling) {
    return new LatentScale(
        Collections.nCopies(channels, shift), Collections.nCopies(channels, scaling));
  }

  /** {@link #shift} as f32 [1, channels, 1, 1], where {@code z} is. */
  public Tensor shiftOf(Tensor z) {
    return channels(shift, z);
  }

  /** {@link #scaling} as f32 [1, channels, 1, 1], where {@code z} is. */
  public Tensor scalingOf(Tensor z) {
    return channels(scaling, z);
  }

  /** {@code (z - shift) * scaling}; both have shape [batch, channels, height, width]. */
  Tensor apply(Tensor z) {
    return z.sub(shiftOf(z)).mul_(scalingOf(z));
  }

  /** Undoes {@link #apply}. */
  Tensor undo(Tensor latents) {
    return latents.div(scalingOf(latents)).add_(shiftOf(latents));
  }

  private static Tensor channels(List<Double> values, Tensor like) {
    double[] array = values.stream().mapToDouble(Double::doubleValue).toArray();
    return torch.tensor(array).to(like.device(), ScalarType.Float).view(1, array.length, 1, 1);
  }
}
