package org.glance4j.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Cfg;
import org.glance4j.kernel.FlowStep;
import org.glance4j.model.Conditioning;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.ImageModel;
import org.glance4j.model.Velocity;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.Step;
import org.jspecify.annotations.Nullable;

/**
 * Runs of the base model, without adapters, on the planning prompts. For one thread, in one
 * inference mode.
 */
final class BaseRuns implements AutoCloseable {
  private final ImageModel model;
  private final FlowStep flowStep;
  private final PlanInputs inputs;
  private final Runnable stopCheck;
  private final Cfg cfg;
  private final @Nullable Conditioning negative;
  private final List<Conditioning> prompts = new ArrayList<>();

  /**
   * Runs on an open model.
   *
   * @param stopCheck throws if the planning is to stop; asked before each step
   */
  BaseRuns(ImageModel model, FlowStep flowStep, PlanInputs inputs, Runnable stopCheck) {
    this.model = model;
    this.flowStep = flowStep;
    this.inputs = inputs;
    this.stopCheck = stopCheck;
    this.cfg = model.cfg(inputs.cfg());
    this.negative =
        isGuided() ? model.encode(model.emptyPrompt(), model.defaultTextTokens()) : null;
  }

  /**
   * Encodes the prompts, all of them before the transformer runs, with which that may take turns.
   */
  void encode() {
    for (String prompt : inputs.prompts()) {
      stopCheck.run();
      prompts.add(model.encode(prompt, model.defaultTextTokens()));
    }
  }

  /** How CFG combines velocities; its scale is the one planned for. */
  Cfg cfg() {
    return cfg;
  }

  /** Whether there is CFG. */
  boolean isGuided() {
    return inputs.cfg() > 1;
  }

  FlowStep flowStep() {
    return flowStep;
  }

  Tensor noise(int p) {
    return model.noise(inputs.seed() + p, inputs.size());
  }

  /** For prompt p; to be closed. */
  Denoiser denoiser(int p, List<Step> steps) {
    Schedule schedule = new Schedule("planning", steps);
    return model.denoiser(
        new DenoiseTask(
            prompts.get(p), negative, inputs.size(), inputs.guidance(), schedule, Map.of()));
  }

  List<Step> steps(GuidedSigmas schedule) {
    List<Step> steps = new ArrayList<>();
    for (int i = 0; i < schedule.steps(); i++) {
      steps.add(step(schedule.sigmas()[i], schedule.sigmas()[i + 1], schedule.cfgs()[i]));
    }
    return steps;
  }

  Step step(float sigma, float nextSigma, float cfg) {
    return new Step(Phase.BASE, model.sigmaShift().timestep(sigma), sigma, nextSigma, cfg);
  }

  /** Walks prompt p along {@code schedule}, whose steps are the first of the denoiser's. */
  KeptRun keep(int p, Denoiser denoiser, GuidedSigmas schedule) {
    Tensor latents = noise(p);
    KeptRun kept = new KeptRun(schedule, latents, cfg);
    List<Step> steps = steps(schedule);
    for (int i = 0; i < steps.size(); i++) {
      try (PointerScope scope = new PointerScope()) {
        Velocity velocity = velocity(denoiser, i, latents);
        kept.put(i, latents, velocity);
        update(latents, velocity, steps.get(i));
      }
    }
    kept.putEnd(latents);
    return kept;
  }

  /** Takes step {@code index} of the denoiser's. */
  void advance(Denoiser denoiser, int index, Step step, Tensor latents) {
    try (PointerScope scope = new PointerScope()) {
      stopCheck.run();
      update(latents, denoiser.velocity(index, latents, cfg.at(step.cfg(1))), step);
    }
  }

  /** Of both prompts, whatever the step's guidance. */
  Velocity velocity(Denoiser denoiser, int index, Tensor latents) {
    stopCheck.run();
    return denoiser.velocity(index, latents);
  }

  private void update(Tensor latents, Velocity velocity, Step step) {
    flowStep.update(
        latents,
        velocity.positive(),
        velocity.negative(),
        velocity.applied(cfg.at(step.cfg(1))),
        step.sigma(),
        step.nextSigma(),
        null);
    flowStep.backend().synchronize();
  }

  @Override
  public void close() {
    prompts.forEach(Conditioning::close);
    if (negative != null) {
      negative.close();
    }
  }
}
