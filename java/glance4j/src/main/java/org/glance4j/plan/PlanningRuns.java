package org.glance4j.plan;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.model.Denoiser;
import org.glance4j.model.Velocity;
import org.glance4j.schedule.Step;

/**
 * Runs on the planning prompts, compared with their fine trajectories. Errors are squared distances
 * of final latents relative to the fine ones' squared norm, the mean over the prompts. For one
 * thread.
 */
final class PlanningRuns implements PlanRefiner.Runs, AutoCloseable {
  /**
   * What the fine trajectories show.
   *
   * @param jumpErrors {@code [j][k]}: the error of one Euler step from node j to node k
   * @param curvature how fast the velocity turns
   */
  @SuppressWarnings("ArrayRecordComponent") // Never compared.
  record Fine(double[][] jumpErrors, Curvature curvature) {}

  private final BaseRuns base;
  private final int count;
  private final boolean ownCfg;
  private final PlanListener listener;
  private final List<Goal> goals = new ArrayList<>();

  PlanningRuns(BaseRuns base, PlanInputs inputs, PlanListener listener) {
    this.base = base;
    this.count = inputs.prompts().size();
    this.ownCfg = inputs.ownCfg();
    this.listener = listener;
  }

  /**
   * Walks each prompt's fine trajectory, keeps it as the goal of the other runs, and measures it.
   * Comes first, once.
   */
  Fine walkFine(GuidedSigmas fine) {
    int nodes = fine.sigmas().length;
    double[][] jumpErrors = new double[nodes][nodes];
    double[] curvature = new double[fine.steps() - 1];
    base.encode();
    for (int p = 0; p < count; p++) {
      try (PointerScope scope = new PointerScope();
          Denoiser denoiser = base.denoiser(p, base.steps(fine))) {
        KeptRun run = base.keep(p, denoiser, fine);
        double norm = run.end().norm().item_double();
        Tensor path = ownCfg ? run.states() : run.end().unsqueeze(0).clone();
        Goal goal = new Goal(fine.sigmas(), path.retainReference(), 1 / (norm * norm * count));
        goals.add(goal);
        double[][] missed = run.jumpErrors(base.flowStep().backend());
        for (int j = 0; j < nodes; j++) {
          addScaled(missed[j], goal.weight(), jumpErrors[j]);
        }
        addScaled(run.turning(), 1 / (norm * count), curvature);
      }
      listener.onProgress("walking " + fine.steps() + " steps", p + 1, count);
    }
    // The last node, 0, is never evaluated.
    float[] evaluated = Arrays.copyOf(fine.sigmas(), fine.steps());
    return new Fine(jumpErrors, Curvature.of(evaluated, curvature));
  }

  @Override
  public double error(String activity, GuidedSigmas schedule) {
    double sum = 0;
    for (int p = 0; p < count; p++) {
      Goal goal = goals.get(p);
      List<Step> steps = base.steps(schedule);
      try (PointerScope scope = new PointerScope();
          Denoiser denoiser = base.denoiser(p, steps)) {
        Tensor latents = base.noise(p);
        for (int i = 0; i < steps.size(); i++) {
          base.advance(denoiser, i, steps.get(i), latents);
        }
        double distance = latents.view(-1).sub(goal.end()).norm().item_double();
        sum += goal.weight() * distance * distance;
      }
      listener.onProgress(activity, p + 1, count);
    }
    return sum;
  }

  @Override
  public PlanFit.Problem problem(String activity, GuidedSigmas schedule, boolean withCfgs) {
    Sensitivities sensitivities = new Sensitivities(base, schedule, withCfgs);
    int unknowns = sensitivities.unknowns();
    double[] gradient = new double[unknowns];
    double[][] normal = new double[unknowns][unknowns];
    for (int p = 0; p < count; p++) {
      try (PointerScope scope = new PointerScope()) {
        Goal goal = goals.get(p);
        Tensor rows = sensitivities.of(p, goal.end());
        Tensor products = rows.matmul(rows.t());
        for (int i = 0; i < unknowns; i++) {
          double[] row = KeptRun.doubles(products.select(0, i));
          addScaled(row, goal.weight(), normal[i]);
          gradient[i] += goal.weight() * row[unknowns];
        }
      }
      listener.onProgress(activity, p + 1, count);
    }
    return new PlanFit.Problem(gradient, normal);
  }

  /**
   * The guidances that suit given sigmas, step by step: each is the one whose step comes closest to
   * the fine trajectories, from where the steps before it have led. With {@code o} where a step
   * ends without the negative prompt and {@code d = (sigma_{i+1} - sigma_i) (v_pos - v_neg)} that
   * is {@code 1 + <d, x(sigma_{i+1}) - o> / <d, d>}, with sums over the prompts.
   */
  GuidedSigmas fitted(String activity, GuidedSigmas schedule) {
    float[] cfgs = schedule.cfgs().clone();
    try (PointerScope scope = new PointerScope()) {
      List<Tensor> latents = new ArrayList<>();
      for (int p = 0; p < count; p++) {
        latents.add(base.noise(p));
      }
      for (int i = 0; i < cfgs.length; i++) {
        cfgs[i] = fittedStep(schedule.sigmas()[i], schedule.sigmas()[i + 1], cfgs[i], latents);
        listener.onProgress(activity, i + 1, cfgs.length);
      }
    }
    return new GuidedSigmas(schedule.sigmas(), cfgs);
  }

  /** The guidance of one step; moves {@code latents} on by it. */
  private float fittedStep(float sigma, float nextSigma, float cfg, List<Tensor> latents) {
    try (PointerScope scope = new PointerScope()) {
      List<Step> steps = List.of(base.step(sigma, nextSigma, cfg));
      Scalar length = new Scalar(nextSigma - sigma);
      List<Tensor> directions = new ArrayList<>();
      double along = 0;
      double square = 0;
      for (int p = 0; p < count; p++) {
        Goal goal = goals.get(p);
        Velocity velocity = velocity(p, steps, latents.get(p));
        Tensor end = latents.get(p).add_(velocity.positive().mul(length));
        Tensor slope = KeptRun.contrast(velocity, base.cfg(), 1, cfg);
        Tensor direction = slope.to(ScalarType.Float).mul(length);
        Tensor flat = direction.reshape(-1);
        along += goal.weight() * flat.dot(goal.at(nextSigma).sub(end.view(-1))).item_double();
        square += goal.weight() * flat.dot(flat).item_double();
        directions.add(direction);
      }
      double best = 1 + along / square;
      float fitted = Double.isFinite(best) ? (float) Math.max(1, best) : cfg;
      for (int p = 0; p < count; p++) {
        latents.get(p).add_(directions.get(p).mul(new Scalar(fitted - 1)));
      }
      return fitted;
    }
  }

  private Velocity velocity(int p, List<Step> steps, Tensor latents) {
    try (Denoiser denoiser = base.denoiser(p, steps)) {
      return base.velocity(denoiser, 0, latents);
    }
  }

  /** Adds {@code scale * values} to {@code sums}, as far as that is long. */
  private static void addScaled(double[] values, double scale, double[] sums) {
    for (int i = 0; i < sums.length; i++) {
      sums[i] += scale * values[i];
    }
  }

  @Override
  public void close() {
    goals.forEach(goal -> goal.path().close());
    base.close();
  }
}
