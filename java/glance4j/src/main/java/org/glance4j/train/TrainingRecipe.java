package org.glance4j.train;

import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.glance4j.ImageModels;
import org.glance4j.model.ModelFamily;
import org.glance4j.schedule.ScheduleSpec;

/**
 * How adapters are trained. Immutable; {@link #published()} is the paper's recipe, {@link
 * #of(TrainingTarget)} what this library recommends for a target.
 *
 * @param target what is learnt
 * @param schedule whose SLOW and FAST steps the adapters are for; see {@link ScheduleSpec}
 * @param rank of the adapters, 1..256
 * @param alpha the adapters' scale times their rank, above 0
 * @param linears the linears to adapt, by name or by the end of the name after a dot; empty: for
 *     target flow those that the published recipe adapts in the model's family, for the others
 *     those of the adaptive layer norms
 * @param steps of the optimiser, for each expert, at least 1
 * @param batch examples of one step, at least 1; they go through the model one by one
 * @param learningRate of AdamW, above 0
 * @param decay true to let the rate fall linearly to 0 over the second half of the steps, false to
 *     keep it
 * @param weightDecay of AdamW, 0 or more
 * @param maxGradientNorm what gradients are clipped to, above 0
 * @param cfg classifier-free guidance that the adapters are to be sampled with; for {@link
 *     TrainingTarget#CHORD_CFG} that of the teacher; 1 is none
 * @param guidance distilled guidance, for models that take it: 1 in the published recipe; for
 *     targets other than flow what the adapters are to be sampled with
 * @param noises trajectories of the teacher for each caption, at least 1
 * @param shared true for one adapter that serves both phases
 * @param seed of everything that is drawn
 */
public record TrainingRecipe(
    TrainingTarget target,
    ScheduleSpec schedule,
    int rank,
    double alpha,
    List<String> linears,
    int steps,
    int batch,
    double learningRate,
    boolean decay,
    double weightDecay,
    double maxGradientNorm,
    double cfg,
    double guidance,
    int noises,
    boolean shared,
    long seed) {
  private static final int MAX_RANK = 256;
  private static final int MAX_STEPS = 1_000_000;

  /** Checks ranges. */
  public TrainingRecipe {
    Objects.requireNonNull(target, "target");
    Objects.requireNonNull(schedule, "schedule");
    linears = List.copyOf(linears);
    requireIn("rank", rank, MAX_RANK);
    requireIn("steps", steps, MAX_STEPS);
    requireIn("batch", batch, MAX_STEPS);
    requireIn("noises", noises, MAX_STEPS);
    requirePositive("alpha", alpha);
    requirePositive("learningRate", learningRate);
    requirePositive("maxGradientNorm", maxGradientNorm);
    if (!(weightDecay >= 0 && weightDecay < 1)) {
      throw new IllegalArgumentException("weightDecay " + weightDecay + " must be in [0, 1)");
    }
    if (!(cfg >= 1 && Double.isFinite(cfg))) {
      throw new IllegalArgumentException("cfg " + cfg + " must be a finite number of at least 1");
    }
    if (target == TrainingTarget.CHORD_CFG && cfg == 1) {
      throw new IllegalArgumentException(
          "target chord-cfg bakes the teacher's CFG in, but cfg is 1; set it above 1, or choose chord");
    }
    if (!(guidance >= 0 && Double.isFinite(guidance))) {
      throw new IllegalArgumentException(
          "guidance " + guidance + " must be a finite number of at least 0");
    }
  }

  /**
   * The published recipe for FLUX.1-dev (arXiv 2512.02899 and its code): target flow, rank 16,
   * alpha 64, 60 steps an expert at a constant 5e-4.
   */
  public static TrainingRecipe published() {
    return of(TrainingTarget.FLOW);
  }

  /**
   * The recommended recipe for {@code target}; that of {@link TrainingTarget#FLOW} is the paper's.
   */
  public static TrainingRecipe of(TrainingTarget target) {
    return builder(target).build();
  }

  /** A builder that starts from the recommended recipe for {@code target}. */
  public static Builder builder(TrainingTarget target) {
    return new Builder(target);
  }

  /**
   * As {@link #builder(TrainingTarget)}, with what the published recipe has of its own for the
   * family of the model in {@code model}.
   *
   * @throws org.glance4j.ModelFormatException if it is no model folder
   */
  public static Builder builder(TrainingTarget target, Path model) {
    Builder builder = builder(target);
    if (target.needsPicture()) {
      ModelFamily.PublishedTraining published = ImageModels.family(model).publishedTraining();
      builder
          .rank(published.rank())
          .alpha(published.alpha())
          .learningRate(published.learningRate());
    }
    return builder;
  }

  /** The learning rate of a step, from 0. */
  double learningRate(int step) {
    double left = (double) (steps - step) / steps;
    return decay ? learningRate * Math.min(1, 2 * left) : learningRate;
  }

  /** CFG as the student's prediction combines it: none where it is baked in. */
  double studentCfg() {
    return target == TrainingTarget.CHORD_CFG || target == TrainingTarget.FLOW ? 1 : cfg;
  }

  /** CFG that the adapters are sampled with. */
  double sampledCfg() {
    return target == TrainingTarget.CHORD_CFG ? 1 : cfg;
  }

  private static void requireIn(String name, int value, int most) {
    if (value < 1 || value > most) {
      throw new IllegalArgumentException(name + " " + value + " must be from 1 to " + most);
    }
  }

  private static void requirePositive(String name, double value) {
    if (!(value > 0 && Double.isFinite(value))) {
      throw new IllegalArgumentException(name + " " + value + " must be a finite number above 0");
    }
  }

  /** Collects a recipe; not thread-safe. */
  public static final class Builder {
    private final TrainingTarget target;
    private ScheduleSpec schedule = ScheduleSpec.glance();
    private int rank = 16;
    private double alpha = 64;
    private List<String> linears = List.of();
    private int steps = 60;
    private int batch = 1;
    private double learningRate = 5e-4;
    private boolean decay;
    private double weightDecay = 0.01;
    private double maxGradientNorm = 1;
    private double cfg = 1;
    private double guidance = 1;
    private int noises = 1;
    private boolean shared;
    private long seed;

    private Builder(TrainingTarget target) {
      this.target = target;
      if (!target.needsPicture()) {
        alpha = rank;
        learningRate = 1e-3;
        decay = true;
        weightDecay = 0;
        batch = 8;
        noises = 1;
      }
    }

    /** See {@link TrainingRecipe#schedule()}. */
    public Builder schedule(ScheduleSpec value) {
      this.schedule = value;
      return this;
    }

    /** See {@link TrainingRecipe#rank()}. */
    public Builder rank(int value) {
      this.rank = value;
      return this;
    }

    /** See {@link TrainingRecipe#alpha()}. */
    public Builder alpha(double value) {
      this.alpha = value;
      return this;
    }

    /** See {@link TrainingRecipe#linears()}. */
    public Builder linears(List<String> value) {
      this.linears = value;
      return this;
    }

    /** See {@link TrainingRecipe#steps()}. */
    public Builder steps(int value) {
      this.steps = value;
      return this;
    }

    /** See {@link TrainingRecipe#batch()}. */
    public Builder batch(int value) {
      this.batch = value;
      return this;
    }

    /** See {@link TrainingRecipe#learningRate()}. */
    public Builder learningRate(double value) {
      this.learningRate = value;
      return this;
    }

    /** See {@link TrainingRecipe#decay()}. */
    public Builder decay(boolean value) {
      this.decay = value;
      return this;
    }

    /** See {@link TrainingRecipe#weightDecay()}. */
    public Builder weightDecay(double value) {
      this.weightDecay = value;
      return this;
    }

    /** See {@link TrainingRecipe#maxGradientNorm()}. */
    public Builder maxGradientNorm(double value) {
      this.maxGradientNorm = value;
      return this;
    }

    /** See {@link TrainingRecipe#cfg()}. */
    public Builder cfg(double value) {
      this.cfg = value;
      return this;
    }

    /** See {@link TrainingRecipe#guidance()}. */
    public Builder guidance(double value) {
      this.guidance = value;
      return this;
    }

    /** See {@link TrainingRecipe#noises()}. */
    public Builder noises(int value) {
      this.noises = value;
      return this;
    }

    /** See {@link TrainingRecipe#shared()}. */
    public Builder shared(boolean value) {
      this.shared = value;
      return this;
    }

    /** See {@link TrainingRecipe#seed()}. */
    public Builder seed(long value) {
      this.seed = value;
      return this;
    }

    /** The recipe, checked. */
    public TrainingRecipe build() {
      return new TrainingRecipe(
          target,
          schedule,
          rank,
          alpha,
          linears,
          steps,
          batch,
          learningRate,
          decay,
          weightDecay,
          maxGradientNorm,
          cfg,
          guidance,
          noises,
          shared,
          seed);
    }
  }
}
