package org.glance4j.kernel;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.kernel.LoraMatmul.Adapter;
import org.glance4j.kernel.LoraMatmul.GatedResidual;
import org.glance4j.kernel.LoraMatmul.Linear;
import org.glance4j.kernel.LoraMatmul.Segment;
import org.glance4j.kernel.LoraMatmul.Up;
import org.jspecify.annotations.Nullable;

/** What {@link LoraMatmul} refuses, on every backend. */
final class LoraMatmulChecks {
  private LoraMatmulChecks() {}

  static void check(
      Backend backend,
      Tensor x,
      List<Linear> linears,
      List<Adapter> adapters,
      List<Segment> segments,
      @Nullable Tensor h) {
    int dtype = TensorChecks.dtype("x", x);
    TensorChecks.operand(backend, dtype, "x", x);
    if (x.dim() < 1) {
      throw new IllegalArgumentException("x is a single number; it must have rows of K values");
    }
    requireCount("linears", linears.size(), 1, LoraMatmul.MAX_LINEARS);
    for (int i = 0; i < linears.size(); i++) {
      check(backend, dtype, x, linears.get(i));
    }
    long width = x.size(x.dim() - 1);
    long widest = adapters(backend, dtype, rows(x), width, adapters, segments);
    for (Adapter adapter : adapters) {
      check(backend, dtype, linears, adapter);
    }
    if (h != null) {
      checkDown(backend, dtype, "x", x, h, widest);
    }
  }

  /** Checks what {@link LoraMatmul#forwardSelected} reads in device memory. */
  static void selection(Backend backend, List<Adapter> adapters, Tensor selection) {
    if (backend != Backend.CUDA) {
      throw new IllegalArgumentException(
          "selection is read by the kernels on CUDA only, but the backend is "
              + backend
              + "; pass the one adapter");
    }
    requireCount("adapters", adapters.size(), 1, LoraMatmul.MAX_ADAPTERS);
    TensorChecks.on(backend, "selection", selection);
    TensorChecks.type("selection", selection, ScalarType.Int);
    TensorChecks.shape("selection", selection, adapters.size());
    if (!selection.is_contiguous()) {
      throw new IllegalArgumentException("selection must be contiguous");
    }
  }

  /** The number of rows of a tensor [..., columns]. */
  static long rows(Tensor tensor) {
    long rows = 1;
    long last = tensor.dim() - 1;
    for (long d = 0; d < last; d++) {
      rows *= tensor.size(d);
    }
    return rows;
  }

  private static void check(Backend backend, int dtype, Tensor x, Linear linear) {
    PackedMatrix weight = linear.weight();
    TensorChecks.packed(backend, dtype, "weight", weight);
    long inputs = x.size(x.dim() - 1);
    if (weight.columns() != inputs) {
      throw new IllegalArgumentException(
          "weight has %d columns, but x has %d".formatted(weight.columns(), inputs));
    }
    if (linear.bias() != null) {
      TensorChecks.operand(backend, dtype, "bias", linear.bias());
      TensorChecks.shape("bias", linear.bias(), weight.rows());
    }
    checkOutput(backend, dtype, x, linear);
    if (linear.gated() != null) {
      check(backend, dtype, linear, linear.gated());
    }
  }

  private static void checkOutput(Backend backend, int dtype, Tensor x, Linear linear) {
    Tensor y = linear.y();
    TensorChecks.operand(backend, dtype, "y", y);
    TensorChecks.sameRows("y", y, "x", x);
    long columns = y.size(y.dim() - 1);
    long outputs = linear.weight().rows();
    boolean fits =
        linear.column() == Linear.WHOLE
            ? columns == outputs
            : linear.column() >= 0 && linear.column() <= columns - outputs;
    if (!fits) {
      throw new IllegalArgumentException(
          "y has %d columns, where a weight of %d rows writes %s"
              .formatted(
                  columns,
                  outputs,
                  linear.column() == Linear.WHOLE ? "all" : "from column " + linear.column()));
    }
  }

  private static void check(Backend backend, int dtype, Linear linear, GatedResidual gated) {
    if (linear.activation() != Activation.NONE) {
      throw new IllegalArgumentException(
          "activation must be NONE with a gated residual, not " + linear.activation());
    }
    Tensor y = linear.y();
    TensorChecks.operand(backend, dtype, "gate", gated.gate());
    TensorChecks.operand(backend, dtype, "residual", gated.residual());
    TensorChecks.sameRows("residual", gated.residual(), "y", y);
    long outputs = linear.weight().rows();
    if (gated.residual().size(y.dim() - 1) != outputs) {
      throw new IllegalArgumentException(
          "residual has shape %s, but weight has %d rows"
              .formatted(TensorChecks.shape(gated.residual()), outputs));
    }
    if (y.dim() < 2) {
      throw new IllegalArgumentException("gate needs an x of samples: [batch, ..., K]");
    }
    SampleVectors.of("gate", gated.gate(), y.size(0), rows(y), outputs);
  }

  /** Checks what all operations with adapters share; returns the most rows of an A. */
  static long adapters(
      Backend backend,
      int dtype,
      long rows,
      long width,
      List<Adapter> adapters,
      List<Segment> segments) {
    requireCount("adapters", adapters.size(), 0, LoraMatmul.MAX_ADAPTERS);
    long widest = 0;
    for (Adapter adapter : adapters) {
      TensorChecks.packed(backend, dtype, "down", adapter.down());
      TensorChecks.finite("scale", adapter.scale());
      if (adapter.down().columns() != width) {
        throw new IllegalArgumentException(
            "down has %d columns, but x has %d".formatted(adapter.down().columns(), width));
      }
      widest = Math.max(widest, adapter.down().rows());
    }
    checkSegments(rows, adapters.size(), segments);
    return widest;
  }

  private static void checkSegments(long rows, int adapters, List<Segment> segments) {
    if (segments.isEmpty() != (adapters == 0)) {
      throw new IllegalArgumentException(
          "segments must be empty exactly if there are no adapters; there are %d segments and %d"
                  .formatted(segments.size(), adapters)
              + " adapters");
    }
    long next = 0;
    for (Segment segment : segments) {
      if (segment.begin() != next || segment.end() < next || segment.end() > rows) {
        throw new IllegalArgumentException(
            "segments must follow each other from row 0 to %d; one goes from %d to %d, where %d is next"
                .formatted(rows, segment.begin(), segment.end(), next));
      }
      if (segment.adapter() < -1 || segment.adapter() >= adapters) {
        throw new IllegalArgumentException(
            "segments name adapter %d, but there are %d".formatted(segment.adapter(), adapters));
      }
      next = segment.end();
    }
    if (!segments.isEmpty() && next != rows) {
      throw new IllegalArgumentException(
          "segments end at row %d, but x has %d".formatted(next, rows));
    }
  }

  private static void check(Backend backend, int dtype, List<Linear> linears, Adapter adapter) {
    if (adapter.ups().size() != linears.size()) {
      throw new IllegalArgumentException(
          "ups has %d entries, but there are %d linears"
              .formatted(adapter.ups().size(), linears.size()));
    }
    for (int i = 0; i < linears.size(); i++) {
      Up up = adapter.ups().get(i);
      if (up != null) {
        check(backend, dtype, linears.get(i), adapter, up);
      }
    }
  }

  private static void check(Backend backend, int dtype, Linear linear, Adapter adapter, Up up) {
    TensorChecks.packed(backend, dtype, "up", up.matrix());
    long rank = up.matrix().columns();
    if (up.matrix().rows() != linear.weight().rows()) {
      throw new IllegalArgumentException(
          "up has %d rows, but its linear's weight has %d"
              .formatted(up.matrix().rows(), linear.weight().rows()));
    }
    if (rank > LoraMatmul.MAX_RANK) {
      throw new IllegalArgumentException(
          "up has rank %d; at most %d is supported in one linear"
              .formatted(rank, LoraMatmul.MAX_RANK));
    }
    if (up.first() < 0 || up.first() > adapter.down().rows() - rank) {
      throw new IllegalArgumentException(
          "up reads rows %d to %d of down, which has %d"
              .formatted(up.first(), up.first() + rank - 1, adapter.down().rows()));
    }
  }

  /** Checks h beside the tensor whose down-projection it is. */
  static void checkDown(
      Backend backend, int dtype, String otherArgument, Tensor other, Tensor h, long columns) {
    TensorChecks.operand(backend, dtype, "h", h);
    TensorChecks.sameRows("h", h, otherArgument, other);
    if (h.size(h.dim() - 1) < columns) {
      throw new IllegalArgumentException(
          "h has %d columns, but an adapter's down has %d rows"
              .formatted(h.size(h.dim() - 1), columns));
    }
  }

  private static void requireCount(String argument, int count, int least, int most) {
    if (count < least || count > most) {
      throw new IllegalArgumentException(
          "%s has %d entries; it must have %d to %d".formatted(argument, count, least, most));
    }
  }
}
