package org.glance4j.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;

/** A training that is cancelled after some steps. */
final class CancelledTraining {
  private CancelledTraining() {}

  /** Trains until so many steps of both experts are taken; the listener is this one's. */
  static void run(OneSampleTrainer.Builder builder, int steps) {
    AtomicReference<OneSampleTrainer> running = new AtomicReference<>();
    int[] taken = {0};
    OneSampleTrainer trainer =
        builder
            .listener(
                step -> {
                  taken[0]++;
                  if (taken[0] == steps) {
                    Objects.requireNonNull(running.get()).cancel();
                  }
                })
            .build();
    running.set(trainer);
    assertThrows(TrainingCancelledException.class, trainer::train);
    assertEquals(steps, taken[0]);
  }
}
