package org.glance4j.plan;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Random;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.Cfg;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.model.Velocity;
import org.junit.jupiter.api.Test;

class KeptRunTest {
  private static final float[] SIGMAS = {1, 0.7f, 0.4f, 0.15f, 0};
  private static final int VALUES = 6;
  private static final float CFG = 3;

  /** Rows of random numbers, the same here and in the run. */
  private static float[][] rows(Random random, int count) {
    float[][] rows = new float[count][VALUES];
    for (float[] row : rows) {
      for (int i = 0; i < VALUES; i++) {
        row[i] = (float) random.nextGaussian();
      }
    }
    return rows;
  }

  private static Tensor latents(float[] values) {
    return torch.tensor(values).view(1, 2, 3);
  }

  @Test
  void measuresJumpsTurningAndOtherSteps() {
    NativeRuntime.initialize();
    Random random = new Random(3);
    float[][] states = rows(random, 5);
    float[][] positive = rows(random, 4);
    float[][] negative = rows(random, 4);
    float[][] velocities = new float[4][VALUES];
    float[][] contrasts = new float[4][VALUES];
    for (int j = 0; j < 4; j++) {
      for (int i = 0; i < VALUES; i++) {
        contrasts[j][i] = positive[j][i] - negative[j][i];
        velocities[j][i] = negative[j][i] + CFG * contrasts[j][i];
      }
    }
    try (PointerScope scope = new PointerScope()) {
      KeptRun run = new KeptRun(GuidedSigmas.with(CFG, SIGMAS), latents(states[0]), Cfg.plain(CFG));
      for (int j = 0; j < 4; j++) {
        run.put(j, latents(states[j]), new Velocity(latents(positive[j]), latents(negative[j])));
      }
      run.putEnd(latents(states[4]));
      double[][] errors = run.jumpErrors(Backend.TORCH);
      for (int j = 0; j < 5; j++) {
        for (int k = 0; k < 5; k++) {
          double expected = j < k ? missed(states[j], velocities[j], states[k], j, k) : 0;
          assertEquals(expected, errors[j][k], 1e-5 * (1 + expected), j + " to " + k);
        }
      }
      double[] turning = new double[3];
      double[] after = new double[VALUES];
      double[] guided = new double[VALUES];
      for (int i = 0; i < VALUES; i++) {
        for (int j = 0; j < 3; j++) {
          turning[j] += Math.pow(velocities[j + 1][i] - velocities[j][i], 2);
        }
        after[i] = states[1][i] - 0.2 * velocities[1][i];
        guided[i] = states[2][i] - 0.3 * 0.5 * contrasts[1][i];
      }
      for (int j = 0; j < 3; j++) {
        turning[j] = Math.sqrt(turning[j]) / (SIGMAS[j] - SIGMAS[j + 1]);
      }
      assertArrayEquals(turning, run.turning(), 1e-4);
      assertArrayEquals(after, KeptRun.doubles(run.after(1, 0.5f)), 1e-5);
      assertArrayEquals(guided, KeptRun.doubles(run.guided(1, 0.5f)), 1e-5);
    }
  }

  @Test
  void withoutCfgThereIsNoContrast() {
    NativeRuntime.initialize();
    float[][] values = rows(new Random(4), 3);
    try (PointerScope scope = new PointerScope()) {
      GuidedSigmas schedule = GuidedSigmas.with(1, new float[] {1, 0.5f, 0});
      KeptRun run = new KeptRun(schedule, latents(values[0]), Cfg.NONE);
      run.put(0, latents(values[0]), new Velocity(latents(values[1]), null));
      run.putEnd(latents(values[2]));
      assertThrows(IllegalStateException.class, () -> run.guided(0, 1));
    }
  }

  /** A path that Euler steps have made is straight between its nodes. */
  @Test
  void aGoalIsKnownAtAnySigma() {
    NativeRuntime.initialize();
    float[][] states = rows(new Random(5), 5);
    try (PointerScope scope = new PointerScope()) {
      Tensor path = torch.tensor(states[0]).new_empty(5, VALUES);
      for (int j = 0; j < 5; j++) {
        path.select(0, j).copy_(torch.tensor(states[j]));
      }
      Goal goal = new Goal(SIGMAS, path, 1);
      for (int j = 0; j < 5; j++) {
        assertArrayEquals(doubles(states[j]), KeptRun.doubles(goal.at(SIGMAS[j])), 1e-6);
      }
      double[] between = new double[VALUES];
      for (int i = 0; i < VALUES; i++) {
        between[i] = states[1][i] + (states[2][i] - states[1][i]) / 3;
      }
      assertArrayEquals(between, KeptRun.doubles(goal.at(0.6f)), 1e-6);
      assertArrayEquals(doubles(states[4]), KeptRun.doubles(goal.end()));
    }
  }

  private static double[] doubles(float[] values) {
    double[] doubles = new double[values.length];
    for (int i = 0; i < values.length; i++) {
      doubles[i] = values[i];
    }
    return doubles;
  }

  private static double missed(float[] from, float[] velocity, float[] to, int j, int k) {
    double sum = 0;
    for (int i = 0; i < VALUES; i++) {
      double jumped = from[i] + (SIGMAS[k] - SIGMAS[j]) * velocity[i];
      sum += (jumped - to[i]) * (jumped - to[i]);
    }
    return sum;
  }
}
