package org.glance4j.plan;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Random;
import org.glance4j.plan.PlanRefiner.Candidate;
import org.junit.jupiter.api.Test;

class PlanRefinerTest {
  private static final float[] TARGET = {1, 0.9f, 0.6f, 0.55f, 0.1f, 0};
  private static final float[] TARGET_CFGS = {1.5f, 4, 2.5f, 3, 1.2f};
  private static final GuidedSigmas UNIFORM =
      GuidedSigmas.with(3.5f, new float[] {1, 0.8f, 0.6f, 0.4f, 0.2f, 0});

  /**
   * {@code r = d + bend d^2} of each number's scaled distance d from its target: least, and 0,
   * there.
   */
  private record Distance(double bend) implements PlanRefiner.Runs {
    @Override
    public double error(String activity, GuidedSigmas schedule) {
      return Arrays.stream(distances(schedule, true)).map(this::bent).map(r -> r * r).sum();
    }

    @Override
    public PlanFit.Problem problem(String activity, GuidedSigmas schedule, boolean withCfgs) {
      double[] distances = distances(schedule, withCfgs);
      double[] gradient = new double[distances.length];
      double[][] normal = new double[distances.length][distances.length];
      for (int i = 0; i < distances.length; i++) {
        double slope = scale(schedule, i) * (1 + 2 * bend * distances[i]);
        gradient[i] = slope * bent(distances[i]);
        normal[i][i] = slope * slope;
      }
      return new PlanFit.Problem(gradient, normal);
    }

    private double bent(double distance) {
      return distance + bend * distance * distance;
    }

    private double[] distances(GuidedSigmas schedule, boolean withCfgs) {
      int sigmas = schedule.steps() - 1;
      double[] distances = new double[sigmas + (withCfgs ? schedule.steps() : 0)];
      for (int i = 0; i < distances.length; i++) {
        float distance =
            i < sigmas
                ? schedule.sigmas()[i + 1] - TARGET[i + 1]
                : schedule.cfgs()[i - sigmas] - TARGET_CFGS[i - sigmas];
        distances[i] = scale(schedule, i) * distance;
      }
      return distances;
    }

    /** Guidances differ by more than sigmas do, and change less. */
    private static double scale(GuidedSigmas schedule, int i) {
      return i < schedule.steps() - 1 ? 1 : 0.1;
    }
  }

  private static Candidate start(PlanRefiner.Runs runs) {
    return new Candidate(UNIFORM, runs.error("", UNIFORM));
  }

  @Test
  void findsTheSigmasOfLeastErrorAndGuidancesOnTheWayToIt() {
    for (double bend : new double[] {0, 1}) {
      Distance runs = new Distance(bend);
      for (boolean withCfgs : new boolean[] {false, true}) {
        Candidate best = new PlanRefiner(runs, start(runs), withCfgs).refine(30);
        GuidedSigmas found = best.schedule();
        assertEquals(runs.error("", found), best.squaredError());
        assertArrayEquals(TARGET, found.sigmas(), 0.01f, "bend " + bend);
        for (int i = 0; i < 5; i++) {
          // The pull to the start keeps them from going all the way.
          double part = (found.cfgs()[i] - 3.5) / (TARGET_CFGS[i] - 3.5);
          assertTrue(withCfgs ? part > 0 && part < 1 : part == 0, "bend " + bend + ": " + part);
        }
      }
    }
  }

  @Test
  void withoutRoundsOrWithoutErrorTheStartStays() {
    Distance runs = new Distance(0);
    Candidate start = start(runs);
    assertSame(start, new PlanRefiner(runs, start, true).refine(0));
    Candidate perfect = new Candidate(new GuidedSigmas(TARGET, TARGET_CFGS), 0);
    assertSame(perfect, new PlanRefiner(runs, perfect, true).refine(5));
  }

  @Test
  void neverTakesWhatIsWorse() {
    PlanRefiner.Runs misleading =
        new PlanRefiner.Runs() {
          @Override
          public double error(String activity, GuidedSigmas schedule) {
            return 2;
          }

          @Override
          public PlanFit.Problem problem(String activity, GuidedSigmas schedule, boolean withCfgs) {
            return new Distance(0).problem(activity, schedule, withCfgs);
          }
        };
    Candidate start = new Candidate(UNIFORM, 1);
    assertSame(start, new PlanRefiner(misleading, start, true).refine(3));
  }

  @Test
  void aProposalIsAScheduleWhateverTheProblem() {
    Random random = new Random(7);
    for (int trial = 0; trial < 200; trial++) {
      double[] gradient = new double[9];
      double[][] normal = new double[9][9];
      for (int i = 0; i < 9; i++) {
        gradient[i] = 100 * random.nextGaussian();
        normal[i][i] = random.nextDouble();
      }
      GuidedSigmas from = GuidedSigmas.with(1.5f, UNIFORM.sigmas());
      PlanFit.Problem problem = new PlanFit.Problem(gradient, normal);
      GuidedSigmas moved = PlanFit.propose(from, problem, 0.01);
      assertEquals(1, moved.sigmas()[0]);
      assertEquals(0, moved.sigmas()[5]);
      assertTrue(moved.isSchedule(), "trial " + trial);
    }
  }

  @Test
  void aScheduleDecreasesAndIsFinite() {
    assertTrue(UNIFORM.isSchedule());
    assertFalse(GuidedSigmas.with(0.9f, TARGET).isSchedule());
    assertFalse(GuidedSigmas.with(Float.POSITIVE_INFINITY, TARGET).isSchedule());
    assertFalse(GuidedSigmas.with(2, new float[] {1, 0.5f, 0.5f, 0}).isSchedule());
    assertFalse(GuidedSigmas.with(2, new float[] {1, Float.NaN, 0}).isSchedule());
  }
}
