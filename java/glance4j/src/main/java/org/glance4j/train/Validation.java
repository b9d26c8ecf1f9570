package org.glance4j.train;

import java.util.Map;
import java.util.function.ToDoubleFunction;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * Keeps an adapter in training as it was when it served captions best that it is not trained on:
 * those of one sample alone are learnt by heart. For one thread.
 */
final class Validation implements AutoCloseable {
  /** How often an expert is validated at most, beside the untrained adapter. */
  private static final int TIMES = 12;

  private final TrainableAdapter adapter;
  private final ToDoubleFunction<TrainableAdapter> error;
  private final int steps;
  private final Tensor best;

  /** The best error, infinite at first, and after how many steps it was: f64. */
  private final Tensor bestError;

  private final Tensor bestSteps;

  /**
   * @param error of the adapter as it stands; lower is better
   * @param steps of the whole training
   */
  Validation(TrainableAdapter adapter, ToDoubleFunction<TrainableAdapter> error, int steps) {
    this.adapter = adapter;
    this.error = error;
    this.steps = steps;
    try (PointerScope scope = new PointerScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      this.best = adapter.parameters().clone().retainReference();
      this.bestError = torch.tensor(new double[] {Double.POSITIVE_INFINITY}).retainReference();
      this.bestSteps = torch.tensor(new double[] {0}).retainReference();
    }
  }

  /** True if the adapter is to be validated after so many steps, 0 and the last among them. */
  boolean isDue(int taken) {
    int every = (steps + TIMES - 1) / TIMES;
    return taken % every == 0 || taken == steps;
  }

  /** Validates the adapter after {@code taken} steps, and returns its error. */
  double validate(int taken) {
    double now = error.applyAsDouble(adapter);
    if (now < error()) {
      try (PointerScope scope = new PointerScope();
          NoGradGuard noGrad = new NoGradGuard()) {
        best.copy_(adapter.parameters());
        bestError.fill_(new Scalar(now));
        bestSteps.fill_(new Scalar((double) taken));
      }
    }
    return now;
  }

  /** The lowest error so far. */
  double error() {
    return bestError.item_double();
  }

  /** Makes the adapter what it was at its best, and returns how many steps it had taken. */
  int keepBest() {
    try (NoGradGuard noGrad = new NoGradGuard()) {
      adapter.parameters().copy_(best);
    }
    return (int) bestSteps.item_double();
  }

  /** What it needs to go on; live, not copies. */
  Map<String, Tensor> state() {
    return Map.of("best", best, "best_error", bestError, "best_steps", bestSteps);
  }

  @Override
  public void close() {
    best.close();
    bestError.close();
    bestSteps.close();
  }
}
