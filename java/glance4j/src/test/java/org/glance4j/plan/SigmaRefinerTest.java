package org.glance4j.plan;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.glance4j.plan.SigmaRefiner.Candidate;
import org.junit.jupiter.api.Test;

class SigmaRefinerTest {
  private static final float[] TARGET = {1, 0.9f, 0.6f, 0.55f, 0.1f, 0};
  private static final float[] UNIFORM = {1, 0.8f, 0.6f, 0.4f, 0.2f, 0};

  /** {@code r = s - target + bend (s - target)^2}: least, and 0, at the target. */
  private record Distance(double bend) implements SigmaRefiner.Runs {
    @Override
    public double error(String activity, float[] sigmas) {
      double sum = 0;
      for (int i = 1; i < sigmas.length; i++) {
        sum += residual(sigmas, i) * residual(sigmas, i);
      }
      return sum;
    }

    @Override
    public SigmaFit.Problem problem(String activity, float[] sigmas) {
      int unknowns = sigmas.length - 2;
      double[] gradient = new double[unknowns];
      double[][] normal = new double[unknowns][unknowns];
      for (int i = 0; i < unknowns; i++) {
        double slope = 1 + 2 * bend * (sigmas[i + 1] - TARGET[i + 1]);
        gradient[i] = slope * residual(sigmas, i + 1);
        normal[i][i] = slope * slope;
      }
      return new SigmaFit.Problem(gradient, normal);
    }

    private double residual(float[] sigmas, int i) {
      double distance = sigmas[i] - TARGET[i];
      return distance + bend * distance * distance;
    }
  }

  private static Candidate start(SigmaRefiner.Runs runs) {
    return new Candidate(UNIFORM, runs.error("", UNIFORM));
  }

  @Test
  void findsTheSigmasOfLeastError() {
    for (double bend : new double[] {0, 1}) {
      Distance runs = new Distance(bend);
      Candidate best = new SigmaRefiner(runs).refine(start(runs), 30);
      assertArrayEquals(TARGET, best.sigmas(), 0.01f, "bend " + bend);
      assertEquals(runs.error("", best.sigmas()), best.squaredError());
    }
  }

  @Test
  void withoutRoundsOrWithoutErrorTheStartStays() {
    Distance runs = new Distance(0);
    Candidate start = start(runs);
    assertSame(start, new SigmaRefiner(runs).refine(start, 0));
    Candidate perfect = new Candidate(TARGET, 0);
    assertSame(perfect, new SigmaRefiner(runs).refine(perfect, 5));
  }

  @Test
  void neverTakesWhatIsWorse() {
    SigmaRefiner.Runs misleading =
        new SigmaRefiner.Runs() {
          @Override
          public double error(String activity, float[] sigmas) {
            return 2;
          }

          @Override
          public SigmaFit.Problem problem(String activity, float[] sigmas) {
            return new Distance(0).problem(activity, sigmas);
          }
        };
    Candidate start = new Candidate(UNIFORM, 1);
    assertSame(start, new SigmaRefiner(misleading).refine(start, 3));
  }

  @Test
  void aProposalDecreasesWhateverTheProblem() {
    Random random = new Random(7);
    for (int trial = 0; trial < 200; trial++) {
      double[] gradient = new double[4];
      double[][] normal = new double[4][4];
      for (int i = 0; i < 4; i++) {
        gradient[i] = 100 * random.nextGaussian();
        normal[i][i] = random.nextDouble();
      }
      float[] moved = SigmaFit.propose(UNIFORM, new SigmaFit.Problem(gradient, normal), 0.01);
      assertEquals(1, moved[0]);
      assertEquals(0, moved[5]);
      for (int i = 1; i < moved.length; i++) {
        assertTrue(moved[i] < moved[i - 1], "trial " + trial);
      }
    }
  }
}
