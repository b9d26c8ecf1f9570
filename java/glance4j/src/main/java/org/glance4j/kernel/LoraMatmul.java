package org.glance4j.kernel;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Linears with LoRA adapters, for every linear that reads the same x, in one call:
 *
 * <pre>
 *   h   = scale * (x A^T)                 once for all linears; A holds their down-projections
 *   y_g = epilogue_g(x W_g^T + b_g + h[:, first_g ... ] B_g^T)
 * </pre>
 *
 * <p>x has shape [..., K]; each y the same with its linear's N columns. A table of segments gives
 * each range of rows its own adapter, or none. Tensors and matrices are all f32, all bf16 or (not
 * on the CPU) all f16, on one device, in evenly spaced rows. Sums are in f32; a row's result has
 * the same bits whatever other rows there are and however many threads.
 *
 * <p>{@link Backend#TORCH} runs the sequence of LibTorch operations that PEFT runs, and records
 * gradients; the others refuse tensors that require one. LoRA: arXiv 2106.09685.
 *
 * <p>Immutable and thread-safe; two calls that write one tensor are the caller's race.
 */
public final class LoraMatmul {
  /** Adapters in one call. */
  public static final int MAX_ADAPTERS = 8;

  /** Linears in one call. */
  public static final int MAX_LINEARS = 8;

  /** The rank of one adapter in one linear. */
  public static final int MAX_RANK = 256;

  /** What is done with a sum before it is rounded and stored. */
  public enum Activation {
    /** Nothing. */
    NONE,
    /** GELU in its tanh form. */
    GELU_TANH
  }

  /**
   * {@code y = residual + gate * sum}.
   *
   * @param gate [batch, N] or [batch, 1, N]: one vector for each sample of x [batch, tokens, K]
   * @param residual of y's shape; may be y itself
   */
  public record GatedResidual(Tensor gate, Tensor residual) {}

  /**
   * One linear of a call.
   *
   * @param weight W, [N, K]
   * @param bias N values, or null
   * @param y where the result goes
   * @param column the first of the N columns of y that it takes, or {@link #WHOLE} if y has no
   *     others
   * @param activation of the sum
   * @param gated if not null, what the sum is added to; only without an activation
   */
  public record Linear(
      PackedMatrix weight,
      @Nullable Tensor bias,
      Tensor y,
      long column,
      Activation activation,
      @Nullable GatedResidual gated) {
    /** Stands for all columns of y. */
    public static final long WHOLE = -1;

    /** A linear that fills y. */
    public Linear(
        PackedMatrix weight,
        @Nullable Tensor bias,
        Tensor y,
        Activation activation,
        @Nullable GatedResidual gated) {
      this(weight, bias, y, WHOLE, activation, gated);
    }

    long firstColumn() {
      return Math.max(0, column);
    }
  }

  /**
   * An adapter's up-projection in one linear.
   *
   * @param matrix B, [N, rank]
   * @param first the row of the adapter's A where its rank rows begin
   */
  public record Up(PackedMatrix matrix, long first) {}

  /**
   * An adapter in one call.
   *
   * @param down A, [R, K]: the down-projections of all linears below each other
   * @param ups one entry for each linear; null where the adapter leaves it alone
   * @param scale alpha / rank times the strength
   */
  public record Adapter(PackedMatrix down, List<@Nullable Up> ups, float scale) {
    /** Copies the list. */
    public Adapter {
      // Not List.copyOf, which refuses null.
      ups = Collections.unmodifiableList(new ArrayList<>(ups));
    }
  }

  /**
   * The adapter of a range of rows. The rows of a table follow each other from 0 to the last
   * without gap or overlap.
   *
   * @param begin first row, of x flattened to [rows, K]
   * @param end the row behind the last
   * @param adapter its index, or -1 for none
   */
  public record Segment(long begin, long end, int adapter) {}

  private final Backend backend;

  private LoraMatmul(Backend backend) {
    this.backend = backend;
  }

  /**
   * The operation on a backend.
   *
   * @throws org.glance4j.NativeLoadException if the backend cannot run on this machine
   */
  public static LoraMatmul on(Backend backend) {
    return new LoraMatmul(backend.resolve());
  }

  /** Where this runs: never {@link Backend#AUTO}. */
  public Backend backend() {
    return backend;
  }

  /** The linears without an adapter. */
  public void forward(Tensor x, List<Linear> linears) {
    forward(x, linears, List.of(), List.of(), null);
  }

  /** The linears with one adapter for all rows; null for none. */
  public void forward(Tensor x, List<Linear> linears, @Nullable Adapter adapter) {
    if (adapter == null) {
      forward(x, linears);
    } else {
      List<Segment> all = List.of(new Segment(0, LoraMatmulChecks.rows(x), 0));
      forward(x, linears, List.of(adapter), all, null);
    }
  }

  /**
   * The linears with adapters by rows.
   *
   * @param x [..., K]
   * @param linears 1 to {@value #MAX_LINEARS}
   * @param adapters at most {@value #MAX_ADAPTERS}
   * @param segments which rows have which adapter; empty exactly if there are no adapters
   * @param h if not null, what {@link ModulatedNorm} gave for these adapters and segments: it takes
   *     the place of the down-projection
   * @throws IllegalArgumentException that names the argument, for shapes, types, devices or layouts
   *     that do not fit
   * @throws IllegalStateException if a matrix is closed
   */
  public void forward(
      Tensor x,
      List<Linear> linears,
      List<Adapter> adapters,
      List<Segment> segments,
      @Nullable Tensor h) {
    LoraMatmulChecks.check(backend, x, linears, adapters, segments, h);
    if (backend == Backend.TORCH) {
      TorchLoraMatmul.forward(x, linears, adapters, segments, h);
    } else {
      NativeLoraMatmul.forward(backend, x, linears, adapters, segments, h, null);
    }
  }

  /**
   * The linears with one of several adapters for all rows, which device memory names when the work
   * runs: a captured graph then changes its adapter without being captured again. On {@link
   * Backend#CUDA} only.
   *
   * @param adapters 1 to {@value #MAX_ADAPTERS}
   * @param selection int32, one entry for each adapter, side by side; the first says which adapter
   *     is applied, -1 for none. Others are undefined, and not seen by this call
   * @throws IllegalArgumentException as the other forms, and on another backend
   */
  public void forwardSelected(
      Tensor x, List<Linear> linears, List<Adapter> adapters, Tensor selection) {
    List<Segment> all = List.of(new Segment(0, LoraMatmulChecks.rows(x), 0));
    LoraMatmulChecks.selection(backend, adapters, selection);
    LoraMatmulChecks.check(backend, x, linears, adapters, all, null);
    NativeLoraMatmul.forward(backend, x, linears, adapters, all, null, selection);
  }
}
