package org.glance4j.plan;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Cfg;
import org.glance4j.kernel.FlowStep;
import org.glance4j.model.Conditioning;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.ImageModel;
import org.glance4j.model.Trajectory;
import org.glance4j.model.Velocity;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.Step;
import org.jspecify.annotations.Nullable;

/**
 * Runs of the base model on the planning prompts, compared with where its fine trajectories end.
 * Errors are squared distances of final latents relative to the fine ones' squared norm, the mean
 * over the prompts. For one thread, in one inference mode.
 */
final class PlanningRuns implements SigmaRefiner.Runs, AutoCloseable {
  /** A finite difference moves a sigma by this part of the shorter step beside it. */
  private static final float NUDGE = 0.1f;

  /**
   * What the fine trajectories show.
   *
   * @param jumpErrors {@code [j][k]}: the error of one Euler step from node j to node k
   * @param curvature how fast the velocity turns
   */
  @SuppressWarnings("ArrayRecordComponent") // Never compared.
  record Fine(double[][] jumpErrors, Curvature curvature) {}

  /**
   * One prompt's goal.
   *
   * @param end of its fine trajectory, f32 [values]
   * @param weight {@code 1 / (|end|^2 prompts)}: makes a squared distance its part of the error
   */
  private record Goal(Conditioning prompt, Tensor end, double weight) {}

  private final ImageModel model;
  private final FlowStep flowStep;
  private final PlanInputs inputs;
  private final PlanListener listener;
  private final Runnable stopCheck;
  private final Cfg cfg;
  private final @Nullable Conditioning negative;
  private final List<Goal> goals = new ArrayList<>();

  /**
   * Runs on an open model.
   *
   * @param stopCheck throws if the planning is to stop; asked before each step
   */
  PlanningRuns(
      ImageModel model,
      FlowStep flowStep,
      PlanInputs inputs,
      PlanListener listener,
      Runnable stopCheck) {
    this.model = model;
    this.flowStep = flowStep;
    this.inputs = inputs;
    this.listener = listener;
    this.stopCheck = stopCheck;
    boolean guided = inputs.cfg() > 1;
    this.cfg = guided ? Cfg.plain((float) inputs.cfg()) : Cfg.NONE;
    this.negative = guided ? model.encode("", model.defaultTextTokens()) : null;
  }

  /**
   * Walks each prompt's fine trajectory, keeps its end as the goal of the other runs, and measures
   * it. Comes first, once.
   */
  Fine walkFine(float[] sigmas) {
    int count = inputs.prompts().size();
    double[][] jumpErrors = new double[sigmas.length][sigmas.length];
    double[] curvature = new double[sigmas.length - 2];
    for (int p = 0; p < count; p++) {
      stopCheck.run();
      Conditioning prompt = model.encode(inputs.prompts().get(p), model.defaultTextTokens());
      try (PointerScope scope = new PointerScope()) {
        KeptRun fine = keep(p, denoiser(prompt, steps(sigmas)), sigmas);
        double norm = fine.end().norm().item_double();
        Goal goal =
            new Goal(prompt, fine.end().clone().retainReference(), 1 / (norm * norm * count));
        goals.add(goal);
        double[][] missed = fine.jumpErrors(flowStep.backend());
        for (int j = 0; j < missed.length; j++) {
          addScaled(missed[j], goal.weight(), jumpErrors[j]);
        }
        addScaled(fine.turning(), 1 / (norm * count), curvature);
      }
      listener.onProgress("walking " + (sigmas.length - 1) + " steps", p + 1, count);
    }
    // The last node, 0, is never evaluated.
    float[] evaluated = Arrays.copyOf(sigmas, sigmas.length - 1);
    return new Fine(jumpErrors, Curvature.of(evaluated, curvature));
  }

  @Override
  public double error(String activity, float[] sigmas) {
    double sum = 0;
    for (int p = 0; p < goals.size(); p++) {
      Goal goal = goals.get(p);
      try (PointerScope scope = new PointerScope()) {
        List<Step> steps = steps(sigmas);
        Denoiser denoiser = denoiser(goal.prompt(), steps);
        Tensor latents = noise(p);
        for (int i = 0; i < steps.size(); i++) {
          advance(denoiser, i, steps.get(i), latents);
        }
        double distance = latents.view(-1).sub(goal.end()).norm().item_double();
        sum += goal.weight() * distance * distance;
      }
      listener.onProgress(activity, p + 1, goals.size());
    }
    return sum;
  }

  /** By finite differences: each sigma in turn is nudged. */
  @Override
  public SigmaFit.Problem problem(String activity, float[] sigmas) {
    int unknowns = sigmas.length - 2;
    double[] gradient = new double[unknowns];
    double[][] normal = new double[unknowns][unknowns];
    for (int p = 0; p < goals.size(); p++) {
      try (PointerScope scope = new PointerScope()) {
        Tensor rows = sensitivities(p, sigmas);
        Tensor products = rows.matmul(rows.t());
        double weight = goals.get(p).weight();
        for (int i = 0; i < unknowns; i++) {
          double[] row = KeptRun.doubles(products.select(0, i));
          addScaled(row, weight, normal[i]);
          gradient[i] += weight * row[unknowns];
        }
      }
      listener.onProgress(activity, p + 1, goals.size());
    }
    return new SigmaFit.Problem(gradient, normal);
  }

  /**
   * How prompt p's end moves with each sigma but the first and the 0, and as the last row its
   * distance from the goal: f64 [unknowns + 1, values].
   */
  private Tensor sensitivities(int p, float[] sigmas) {
    int count = sigmas.length - 1;
    float[] nudged = nudged(sigmas);
    List<Step> all = new ArrayList<>(steps(sigmas));
    for (int k = 1; k < count; k++) {
      all.add(step(nudged[k], sigmas[k + 1]));
    }
    Denoiser denoiser = denoiser(goals.get(p).prompt(), all);
    KeptRun base = keep(p, denoiser, sigmas);
    Tensor end = base.end();
    Tensor rows = end.new_empty(count, end.numel()).to(ScalarType.Double);
    for (int k = 1; k < count; k++) {
      try (PointerScope scope = new PointerScope()) {
        // Up to sigma k the run is the base run, but for the length of its last step.
        Tensor latents = noise(p);
        latents.view(-1).copy_(base.after(k - 1, nudged[k]));
        advance(denoiser, count + k - 1, all.get(count + k - 1), latents);
        for (int i = k + 1; i < count; i++) {
          advance(denoiser, i, all.get(i), latents);
        }
        Scalar nudge = new Scalar(nudged[k] - sigmas[k]);
        rows.select(0, k - 1).copy_(latents.view(-1).sub(end).div_(nudge));
      }
    }
    rows.select(0, count - 1).copy_(end.sub(goals.get(p).end()));
    return rows;
  }

  private static float[] nudged(float[] sigmas) {
    float[] nudged = sigmas.clone();
    for (int k = 1; k < sigmas.length - 1; k++) {
      float room = Math.min(sigmas[k - 1] - sigmas[k], sigmas[k] - sigmas[k + 1]);
      nudged[k] -= NUDGE * room;
    }
    return nudged;
  }

  /** Walks prompt p along {@code sigmas}, which are the first of the denoiser's. */
  private KeptRun keep(int p, Denoiser denoiser, float[] sigmas) {
    Tensor latents = noise(p);
    KeptRun kept = new KeptRun(sigmas, latents);
    Trajectory.walk(
        denoiser,
        steps(sigmas),
        flowStep,
        cfg,
        latents,
        (index, step, before, velocity) -> {
          stopCheck.run();
          kept.put(index, before, velocity);
        });
    kept.putEnd(latents);
    return kept;
  }

  private void advance(Denoiser denoiser, int index, Step step, Tensor latents) {
    stopCheck.run();
    try (PointerScope scope = new PointerScope()) {
      Velocity velocity = denoiser.velocity(index, latents);
      flowStep.update(
          latents,
          velocity.positive(),
          velocity.negative(),
          cfg,
          step.sigma(),
          step.nextSigma(),
          null);
      flowStep.backend().synchronize();
    }
  }

  private Denoiser denoiser(Conditioning prompt, List<Step> steps) {
    Schedule schedule = new Schedule("planning", steps);
    return model.denoiser(
        new DenoiseTask(prompt, negative, inputs.size(), inputs.guidance(), schedule, Map.of()));
  }

  private Tensor noise(int p) {
    return model.noise(inputs.seed() + p, inputs.size());
  }

  private List<Step> steps(float[] sigmas) {
    List<Step> steps = new ArrayList<>();
    for (int i = 0; i + 1 < sigmas.length; i++) {
      steps.add(step(sigmas[i], sigmas[i + 1]));
    }
    return steps;
  }

  private Step step(float sigma, float nextSigma) {
    return new Step(Phase.BASE, model.sigmaShift().timestep(sigma), sigma, nextSigma);
  }

  /** Adds {@code scale * values} to {@code sums}, as far as that is long. */
  private static void addScaled(double[] values, double scale, double[] sums) {
    for (int i = 0; i < sums.length; i++) {
      sums[i] += scale * values[i];
    }
  }

  @Override
  public void close() {
    for (Goal goal : goals) {
      goal.end().close();
      goal.prompt().close();
    }
    if (negative != null) {
      negative.close();
    }
  }
}
