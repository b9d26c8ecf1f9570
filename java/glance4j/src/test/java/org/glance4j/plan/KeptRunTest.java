package org.glance4j.plan;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Random;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeRuntime;
import org.junit.jupiter.api.Test;

class KeptRunTest {
  private static final float[] SIGMAS = {1, 0.7f, 0.4f, 0.15f, 0};
  private static final int VALUES = 6;

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
  void measuresJumpsTurningAndOtherLengths() {
    NativeRuntime.initialize();
    Random random = new Random(3);
    float[][] states = rows(random, 5);
    float[][] velocities = rows(random, 4);
    try (PointerScope scope = new PointerScope()) {
      KeptRun run = new KeptRun(SIGMAS, latents(states[0]));
      for (int i = 0; i < 4; i++) {
        run.put(i, latents(states[i]), latents(velocities[i]));
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
      for (int i = 0; i < VALUES; i++) {
        for (int j = 0; j < 3; j++) {
          turning[j] += Math.pow(velocities[j + 1][i] - velocities[j][i], 2);
        }
        after[i] = states[1][i] - 0.2 * velocities[1][i];
      }
      for (int j = 0; j < 3; j++) {
        turning[j] = Math.sqrt(turning[j]) / (SIGMAS[j] - SIGMAS[j + 1]);
      }
      assertArrayEquals(turning, run.turning(), 1e-4);
      assertArrayEquals(after, KeptRun.doubles(run.after(1, 0.5f)), 1e-6);
    }
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
