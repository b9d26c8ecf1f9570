package org.glance4j.train;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Cfg;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.model.TorchThreads;
import org.glance4j.model.Velocity;

/** The training of one adapter on a frozen model: forward, backward, clip, AdamW. */
final class Expert implements AutoCloseable {
  /** What a step showed: see {@link TrainingStep}. */
  record Outcome(double loss, double gradientNorm) {}

  private final ImageModel model;
  private final StepDenoisers denoisers;
  private final TorchThreads threads;
  private final TrainingRecipe recipe;
  private final AdamW optimiser;
  private final TrainableAdapter adapter;
  private final ExampleSource examples;

  Expert(
      ImageModel model,
      ImageSize size,
      TrainingRecipe recipe,
      TrainableAdapter adapter,
      ExampleSource examples) {
    this.model = model;
    this.denoisers = new StepDenoisers(model, size, recipe.guidance());
    this.threads = TorchThreads.of(model, size, model.defaultTextTokens());
    this.recipe = recipe;
    this.optimiser = AdamW.published(recipe.weightDecay());
    this.adapter = adapter;
    this.examples = examples;
  }

  /** Takes step {@code index}, from 0, of the training. */
  Outcome step(int index) {
    return threads.run(() -> take(index));
  }

  private Outcome take(int index) {
    adapter.zeroGradients();
    double loss = 0;
    for (int i = 0; i < recipe.batch(); i++) {
      try (PointerScope scope = new PointerScope()) {
        loss += backward(examples.at(index, i, adapter));
      }
    }
    requireFinite(index, loss);
    double norm =
        adapter.step(optimiser, recipe.learningRate(index), recipe.maxGradientNorm(), index + 1);
    return new Outcome(loss, norm);
  }

  private void requireFinite(int index, double loss) {
    if (!Double.isFinite(loss)) {
      throw new IllegalStateException(
          "the loss is %s at step %d: training diverged; lower the learning rate %s"
              .formatted(loss, index + 1, recipe.learningRate()));
    }
  }

  /** Adds to the adapter's gradients those of an example's share of the loss, which it returns. */
  private double backward(Example example) {
    Cfg whole = model.cfg(recipe.studentCfg());
    Cfg cfg = whole.at(example.step().cfg(whole.scale()));
    Velocity velocity = denoisers.get(example, adapter.mixes()).velocity(0, example.latents(), cfg);
    Tensor loss = loss(example, velocity.combined(cfg)).div(new Scalar(recipe.batch()));
    double value = loss.item_double();
    loss.backward();
    return value;
  }

  /** The weighted mean square of {@code velocity - target}, with its graph. */
  private static Tensor loss(Example example, Tensor velocity) {
    return torch
        .mse_loss(velocity.to(ScalarType.Float), example.target())
        .mul(new Scalar(example.weight()));
  }

  /** Lets the model go. */
  @Override
  public void close() {
    denoisers.close();
  }
}
