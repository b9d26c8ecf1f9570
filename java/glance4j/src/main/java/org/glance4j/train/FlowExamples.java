package org.glance4j.train;

import java.util.SplittableRandom;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Conditioning;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.model.PictureLatents;
import org.glance4j.schedule.PublishedTimesteps;
import org.glance4j.schedule.Step;

/**
 * Examples of {@link TrainingTarget#FLOW}: one step of the phase, drawn uniformly, fresh noise, and
 * latents drawn anew from what the VAE makes of the picture. Timesteps are rounded as the authors'
 * code rounds them.
 */
final class FlowExamples implements ExampleSource {
  private final ImageModel model;
  private final ImageSize size;
  private final Conditioning caption;
  private final PictureLatents picture;
  private final PhaseSteps steps;
  private final long seed;

  FlowExamples(
      ImageModel model,
      ImageSize size,
      Conditioning caption,
      PictureLatents picture,
      PhaseSteps steps,
      long seed) {
    this.model = model;
    this.size = size;
    this.caption = caption;
    this.picture = picture;
    this.steps = steps;
    this.seed = seed;
  }

  @Override
  public Example at(int step, int index, TrainableAdapter adapter) {
    SplittableRandom random = Draws.at(seed, step, index);
    Step chosen = PublishedTimesteps.training(steps.get(random.nextInt(steps.count())));
    Tensor clean = picture.sample(model.noise(random.nextLong(), size));
    return example(caption, chosen, clean, model.noise(random.nextLong(), size));
  }

  /** {@code x = (1 - sigma) clean + sigma noise}, target {@code noise - clean}. */
  static Example example(Conditioning caption, Step step, Tensor clean, Tensor noise) {
    float sigma = step.sigma();
    Tensor noisy = clean.mul(new Scalar(1 - sigma)).add_(noise.mul(new Scalar(sigma)));
    return new Example(caption, null, step, noisy, noise.sub(clean), 1);
  }
}
