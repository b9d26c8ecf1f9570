package org.glance4j.plan;

import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.function.BooleanSupplier;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.InferenceMode;
import org.glance4j.DType;
import org.glance4j.GenerationCancelledException;
import org.glance4j.ImageModels;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.FlowStep;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.jspecify.annotations.Nullable;

/**
 * Chooses, for a model and a number of steps, which sigmas a schedule keeps, how strongly
 * classifier-free guidance acts at each and where its slow phase ends, by what the base model does
 * on a few prompts. For example
 *
 * <pre>{@code
 * SchedulePlan plan = SchedulePlanner.builder(folder).steps(10).cfg(3.5).build().plan();
 * plan.write(Path.of("schedule.txt"));
 * }</pre>
 *
 * <p>The error of a schedule is the distance of its final latents from those of the 50-step base
 * schedule, for the same prompts and noise and without adapters: the square root of the mean over
 * prompts of {@code |x - x_50|^2 / |x_50|^2}.
 *
 * <ol>
 *   <li>Each prompt's 50-step trajectory is walked. The cost of keeping node k after node j is how
 *       far one Euler step misses, {@code |x_j + (sigma_k - sigma_j) v_j - x_k|^2}; dynamic
 *       programming finds the nodes of least cost in sum.
 *   <li>That list, the uniform schedule and, where there is one of as many steps, Glance's are run.
 *       With CFG, each is also given guidances of its own: step by step the one that ends closest
 *       to the trajectories, {@code g_i = 1 + <d, r> / <d, d>} with {@code d = (sigma_{i+1} -
 *       sigma_i) (v_pos - v_neg)}, {@code r = x(sigma_{i+1}) - x_i - (sigma_{i+1} - sigma_i) v_pos}
 *       and sums over the prompts, where x_i is where the steps before have led: few steps with the
 *       guidance of many overshoot.
 *   <li>The best with one guidance is refined by Levenberg and Marquardt's method on the final
 *       latents, which moves the sigmas off the nodes; so is the best with guidances of its own,
 *       which move with the sigmas. The latter is the plan if its squared error is below 85% of the
 *       former's: it has twice the numbers, and smaller gains do not carry over to other prompts.
 *       So it is never worse on these prompts than any of the schedules with one guidance.
 *   <li>The first steps of it go without guidance, one evaluation each, as long as its squared
 *       error grows by no more than 15% in all.
 *   <li>The slow phase ends where the {@link Curvature} changes most, see {@link PhaseSplit}.
 * </ol>
 *
 * <p>Costs, per prompt, 50 evaluations for the trajectory and about {@code steps^2 / 2 + 2 steps}
 * for each round of refinement. With CFG all that is twice as much, and to it come {@code steps^2 +
 * 2 steps} for each round with guidances and {@code steps} for each first step that is tried
 * without; the trajectories then stay in memory, 51 latents a prompt.
 *
 * <p>Immutable and thread-safe. The same planner gives the same plan on the same machine.
 */
public final class SchedulePlanner {
  /** The fewest steps of a plan: one for each phase. */
  public static final int MIN_STEPS = 2;

  /** The most steps of a plan: those it is measured against. */
  public static final int MAX_STEPS = 50;

  private final Path modelFolder;
  private final int steps;
  private final double cfg;
  private final double guidance;
  private final List<String> prompts;
  private final @Nullable Integer width;
  private final @Nullable Integer height;
  private final long seed;
  private final int rounds;
  private final boolean plainCfg;
  private final @Nullable Boolean keepResident;
  private final DType dtype;
  private final Backend backend;
  private final PlanListener listener;
  private final BooleanSupplier cancelled;

  private SchedulePlanner(Builder builder) {
    this.modelFolder = builder.modelFolder;
    this.steps = builder.steps;
    this.cfg = builder.cfg;
    this.guidance = builder.guidance;
    this.prompts = builder.prompts;
    this.width = builder.width;
    this.height = builder.height;
    this.seed = builder.seed;
    this.rounds = builder.rounds;
    this.plainCfg = builder.plainCfg;
    this.keepResident = builder.keepResident;
    this.dtype = builder.dtype;
    this.backend = builder.backend;
    this.listener = builder.listener;
    this.cancelled = builder.cancelled;
    if (steps < MIN_STEPS || steps > MAX_STEPS) {
      throw new IllegalArgumentException(
          "steps %d must be from %d to %d".formatted(steps, MIN_STEPS, MAX_STEPS));
    }
    requireAtLeast("cfg", cfg, 1);
    requireAtLeast("guidance", guidance, 0);
    requireAtLeast("rounds", rounds, 0);
    if (prompts.isEmpty()) {
      throw new IllegalArgumentException("no prompts to plan on; give at least 1, better 8");
    }
  }

  private static void requireAtLeast(String name, double value, double least) {
    if (!Double.isFinite(value) || value < least) {
      throw new IllegalArgumentException(
          name + " " + value + " must be a finite number of at least " + least);
    }
  }

  /** A builder for a Hugging Face diffusers folder. */
  public static Builder builder(Path modelFolder) {
    return new Builder(modelFolder);
  }

  /**
   * Loads the model, plans, and frees the model, on the calling thread.
   *
   * @throws org.glance4j.ModelFormatException if the model cannot be used
   * @throws org.glance4j.NativeLoadException if the native libraries cannot be loaded
   * @throws IllegalArgumentException if the size does not fit the model
   * @throws GenerationCancelledException if it was cancelled
   */
  public SchedulePlan plan() {
    NativeRuntime.initialize();
    FlowStep flowStep = FlowStep.on(backend, FlowStep.Rounding.ONCE);
    try (ImageModel model = ImageModels.open(modelFolder, dtype, flowStep.backend(), keepResident);
        InferenceMode inference = new InferenceMode(true);
        PointerScope scope = new PointerScope()) {
      ImageSize own = model.defaultSize();
      ImageSize size =
          new ImageSize(
              width == null ? own.width() : width, height == null ? own.height() : height);
      size.requireMultipleOf(model.sizeMultiple());
      String name = String.valueOf(modelFolder.toAbsolutePath().normalize().getFileName());
      boolean ownCfg = cfg > 1 && !plainCfg;
      PlanInputs inputs = new PlanInputs(name, size, cfg, ownCfg, guidance, seed, prompts);
      BaseRuns base = new BaseRuns(model, flowStep, inputs, this::checkStop);
      try (PlanningRuns runs = new PlanningRuns(base, inputs, listener)) {
        return new PlanChoice(model, inputs, runs).choose(steps, rounds);
      }
    }
  }

  private void checkStop() {
    if (cancelled.getAsBoolean()) {
      throw new GenerationCancelledException("stopped: the planning was cancelled");
    }
  }

  /** Collects what to plan; not thread-safe. */
  public static final class Builder {
    private final Path modelFolder;
    private int steps = 10;
    private double cfg = 1;
    private double guidance = 3.5;
    private List<String> prompts = PlanningPrompts.GENERAL;
    private @Nullable Integer width;
    private @Nullable Integer height;
    private long seed;
    private int rounds = 6;
    private boolean plainCfg;
    private @Nullable Boolean keepResident;
    private DType dtype = DType.F32;
    private Backend backend = Backend.AUTO;
    private PlanListener listener = (activity, done, total) -> {};
    private BooleanSupplier cancelled = () -> false;

    private Builder(Path modelFolder) {
      this.modelFolder = Objects.requireNonNull(modelFolder, "modelFolder");
    }

    /** How many steps, {@value #MIN_STEPS}..{@value #MAX_STEPS}; default 10. */
    public Builder steps(int value) {
      this.steps = value;
      return this;
    }

    /** Classifier-free guidance, with an empty negative prompt; 1, the default, is off. */
    public Builder cfg(double value) {
      this.cfg = value;
      return this;
    }

    /** Distilled guidance, for models that take it; default 3.5. */
    public Builder guidance(double value) {
      this.guidance = value;
      return this;
    }

    /**
     * What to plan on; default eight everyday things. Take others than the plan is to be judged on,
     * such as those of the model folder's {@code prompts.txt}.
     */
    public Builder prompts(List<String> values) {
      this.prompts = List.copyOf(values);
      return this;
    }

    /** Of the pictures, in pixels; null, the default, for the model's own. */
    public Builder width(@Nullable Integer value) {
      this.width = value;
      return this;
    }

    /** Of the pictures, in pixels; null, the default, for the model's own. */
    public Builder height(@Nullable Integer value) {
      this.height = value;
      return this;
    }

    /** Of the first prompt's noise; prompt {@code i} has {@code seed + i}. Default 0. */
    public Builder seed(long value) {
      this.seed = value;
      return this;
    }

    /** How many rounds of refinement at most; default 6, and 0 leaves it out. */
    public Builder rounds(int value) {
      this.rounds = value;
      return this;
    }

    /**
     * True keeps the one guidance of {@link #cfg} for all steps and leaves it to the request. By
     * default the schedule has a guidance for each step: fitted ones where they are worth it,
     * otherwise the one of {@link #cfg}. Without CFG it has no effect.
     */
    public Builder plainCfg(boolean value) {
      this.plainCfg = value;
      return this;
    }

    /** See {@link org.glance4j.GlanceOptions#keepResident()}; default null. */
    public Builder keepResident(@Nullable Boolean value) {
      this.keepResident = value;
      return this;
    }

    /** The type the model runs in; default f32. */
    public Builder dtype(DType value) {
      this.dtype = Objects.requireNonNull(value, "dtype");
      return this;
    }

    /** Who runs the kernels; default auto. */
    public Builder backend(Backend value) {
      this.backend = Objects.requireNonNull(value, "backend");
      return this;
    }

    /** Is told of the progress; default nobody. */
    public Builder listener(PlanListener value) {
      this.listener = Objects.requireNonNull(value, "listener");
      return this;
    }

    /** Asked before each step, on the planning thread; true stops the planning. */
    public Builder cancelWhen(BooleanSupplier value) {
      this.cancelled = Objects.requireNonNull(value, "cancelWhen");
      return this;
    }

    /**
     * The planner.
     *
     * @throws IllegalArgumentException if a value is out of its range
     */
    public SchedulePlanner build() {
      return new SchedulePlanner(this);
    }
  }
}
