package org.glance4j.kernel;

import java.lang.ref.Reference;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.jni.FlowStepArgs;
import org.glance4j.kernel.jni.Kernels;
import org.jspecify.annotations.Nullable;

/**
 * One denoising step's update of the latents, in place: CFG combine, Euler step, cast.
 *
 * <pre>
 *   v        = the velocity, with CFG combined as {@link Cfg} says
 *   latents += (sigmaNext - sigma) * v
 * </pre>
 *
 * <p>Latents and velocities have one shape, {@code (..., tokens, channels)}, in f32, bf16 or (not
 * on the CPU) f16, on one device. Arithmetic is in f32, in the order of the formulas, each
 * operation rounded on its own: with f32 tensors and no rescaling the result equals the chain of
 * LibTorch operations bit for bit, and with either it does not depend on thread count, instruction
 * set or device.
 *
 * <p>Immutable and thread-safe; two updates of the same latents at once are the caller's race.
 */
public final class FlowStep {
  /** Where values are rounded to the velocity's type; all the same in f32. */
  public enum Rounding {
    /** Once: f32 from the loads to the stores. */
    ONCE,
    /**
     * After every operation on a velocity, which is what diffusers' sequence of tensor operations
     * does with bf16 velocities.
     */
    EACH_OPERATION
  }

  private final Backend backend;
  private final Rounding rounding;

  private FlowStep(Backend backend, Rounding rounding) {
    this.backend = backend;
    this.rounding = rounding;
  }

  /**
   * The update on a backend.
   *
   * @throws org.glance4j.NativeLoadException if the backend cannot run on this machine
   */
  public static FlowStep on(Backend backend, Rounding rounding) {
    return new FlowStep(backend.resolve(), rounding);
  }

  /** Where this runs: never {@link Backend#AUTO}. */
  public Backend backend() {
    return backend;
  }

  /**
   * The update without CFG and without a copy: see {@link #update(Tensor, Tensor, Tensor, Cfg,
   * float, float, Tensor)}.
   */
  public void update(Tensor latents, Tensor velocity, float sigma, float sigmaNext) {
    update(latents, velocity, null, Cfg.NONE, sigma, sigmaNext, null);
  }

  /**
   * Moves {@code latents} from {@code sigma} to {@code sigmaNext}.
   *
   * @param latents changed in place
   * @param velocity for the prompt
   * @param negative for the negative prompt, of the velocity's type; null with {@link Cfg#NONE} and
   *     only then
   * @param cfg how the two are combined
   * @param sigma the noise level the latents are at
   * @param sigmaNext the noise level they go to
   * @param latentsBf16 if not null, also receives the new latents as bf16
   * @throws IllegalArgumentException that names the argument, for shapes, types, devices or layouts
   *     that do not fit, or a sigma that is not finite
   */
  public void update(
      Tensor latents,
      Tensor velocity,
      @Nullable Tensor negative,
      Cfg cfg,
      float sigma,
      float sigmaNext,
      @Nullable Tensor latentsBf16) {
    check(latents, velocity, negative, cfg, latentsBf16);
    TensorChecks.finite("sigma", sigma);
    TensorChecks.finite("sigmaNext", sigmaNext);
    if (backend == Backend.TORCH) {
      TorchFlowStep.update(
          rounding, latents, velocity, negative, cfg, sigma, sigmaNext, latentsBf16);
    } else {
      TensorChecks.on(backend, "latents", latents);
      call(latents, velocity, negative, cfg, sigma, sigmaNext, latentsBf16, null);
    }
  }

  /**
   * The update with its numbers taken from device memory when the work runs, so that one captured
   * graph serves every step. On {@link Backend#CUDA} only.
   *
   * @param latents changed in place
   * @param velocity for the prompt
   * @param negative for the negative prompt; null with {@link Cfg.Mode#NONE} and only then
   * @param mode how the two are combined
   * @param schedule f32 [3], contiguous: sigma, the next sigma, the CFG scale; values that are not
   *     finite are not seen by this call
   * @throws IllegalArgumentException as {@link #update(Tensor, Tensor, Tensor, Cfg, float, float,
   *     Tensor)}, and on another backend
   */
  public void updateScheduled(
      Tensor latents, Tensor velocity, @Nullable Tensor negative, Cfg.Mode mode, Tensor schedule) {
    if (backend != Backend.CUDA) {
      throw new IllegalArgumentException(
          "schedule is read by the kernels on CUDA only, but the backend is "
              + backend
              + "; pass its numbers");
    }
    Cfg cfg = new Cfg(mode, 1);
    check(latents, velocity, negative, cfg, null);
    TensorChecks.on(backend, "latents", latents);
    TensorChecks.on(backend, "schedule", schedule);
    TensorChecks.type("schedule", schedule, ScalarType.Float);
    TensorChecks.shape("schedule", schedule, 3);
    if (!schedule.is_contiguous()) {
      throw new IllegalArgumentException("schedule must be contiguous");
    }
    call(latents, velocity, negative, cfg, 1, 1, null, schedule);
  }

  private void call(
      Tensor latents,
      Tensor velocity,
      @Nullable Tensor negative,
      Cfg cfg,
      float sigma,
      float sigmaNext,
      @Nullable Tensor latentsBf16,
      @Nullable Tensor schedule) {
    // The scope frees the argument block and the pointer objects, not what they point at.
    try (PointerScope scope = new PointerScope()) {
      RowLayout layout = RowLayout.of("latents", latents);
      FlowStepArgs args = new FlowStepArgs();
      args.struct_size(NativeCall.size(FlowStepArgs.class));
      args.latents(latents.data_ptr());
      args.v_pos(velocity.data_ptr());
      args.v_neg(negative == null ? null : negative.data_ptr());
      args.latents_bf16(latentsBf16 == null ? null : latentsBf16.data_ptr());
      args.rows(layout.rows());
      args.columns(layout.columns());
      args.latents_stride(layout.stride());
      args.v_pos_stride(RowLayout.of("velocity", velocity).stride());
      args.v_neg_stride(negative == null ? 0 : RowLayout.of("negative", negative).stride());
      args.latents_bf16_stride(
          latentsBf16 == null ? 0 : RowLayout.of("latentsBf16", latentsBf16).stride());
      args.latents_dtype(TensorChecks.dtype("latents", latents));
      args.velocity_dtype(TensorChecks.dtype("velocity", velocity));
      args.cfg_mode(mode(cfg));
      args.rounding(
          rounding == Rounding.ONCE ? Kernels.GLANCE_ROUND_ONCE : Kernels.GLANCE_ROUND_EACH);
      args.cfg_scale(cfg.scale());
      args.sigma(sigma);
      args.sigma_next(sigmaNext);
      args.device(NativeCall.device(backend));
      args.device_index(NativeCall.deviceIndex(backend, latents));
      args.reserved(0);
      args.schedule(schedule == null ? null : new FloatPointer(schedule.data_ptr()));
      NativeLibrary.check(Kernels.glance_flow_step(args, NativeCall.stream(backend, latents)));
    } finally {
      // A raw pointer does not keep its tensor. On CUDA the call returns before the work is done,
      // but LibTorch hands freed memory out again only to later work on the same stream.
      Reference.reachabilityFence(latents);
      Reference.reachabilityFence(velocity);
      Reference.reachabilityFence(negative);
      Reference.reachabilityFence(latentsBf16);
      Reference.reachabilityFence(schedule);
    }
  }

  private void check(
      Tensor latents,
      Tensor velocity,
      @Nullable Tensor negative,
      Cfg cfg,
      @Nullable Tensor latentsBf16) {
    if ((negative == null) != (cfg.mode() == Cfg.Mode.NONE)) {
      throw new IllegalArgumentException(
          "negative must be null without CFG and only then; CFG is " + cfg.mode());
    }
    TensorChecks.dtype(backend, "latents", latents);
    TensorChecks.noGradient("latents", latents);
    TensorChecks.dtype(backend, "velocity", velocity);
    TensorChecks.noGradient("velocity", velocity);
    TensorChecks.like("velocity", velocity, "latents", latents);
    if (negative != null) {
      TensorChecks.type("negative", negative, TensorChecks.type(velocity));
      TensorChecks.noGradient("negative", negative);
      TensorChecks.like("negative", negative, "latents", latents);
    }
    if (latentsBf16 != null) {
      TensorChecks.type("latentsBf16", latentsBf16, ScalarType.BFloat16);
      TensorChecks.noGradient("latentsBf16", latentsBf16);
      TensorChecks.like("latentsBf16", latentsBf16, "latents", latents);
    }
  }

  private static int mode(Cfg cfg) {
    return switch (cfg.mode()) {
      case NONE -> Kernels.GLANCE_CFG_NONE;
      case PLAIN -> Kernels.GLANCE_CFG_PLAIN;
      case RESCALED -> Kernels.GLANCE_CFG_RESCALED;
    };
  }
}
