package org.glance4j.weights;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * How many values of a tensor are not finite.
 *
 * <p>A sum is finite only if every term is, and summing runs near memory speed in every type, so
 * that is what a good tensor costs. A sum can overflow by itself (early in f16): then halves are
 * summed, and what is small enough is counted exactly. So there is never a temporary of the
 * tensor's size.
 *
 * @param nan values that are NaN
 * @param infinite values that are plus or minus infinity
 */
record NonFinite(long nan, long infinite) {
  private static final NonFinite NONE = new NonFinite(0, 0);

  /** Small enough for temporaries, large enough that a call costs nothing beside its work. */
  private static final long EXACT_ELEMENTS = 1 << 20;

  /** Counts in {@code tensor}, of any floating type that LibTorch can sum (not F8). */
  static NonFinite in(Tensor tensor) {
    try (PointerScope scope = new PointerScope()) {
      return inFlat(tensor.contiguous().view(-1));
    }
  }

  boolean any() {
    return nan + infinite > 0;
  }

  private static NonFinite inFlat(Tensor flat) {
    try (PointerScope scope = new PointerScope()) {
      if (Double.isFinite(flat.sum().item_double())) {
        return NONE;
      }
      long elements = flat.numel();
      if (elements <= EXACT_ELEMENTS) {
        return new NonFinite(flat.isnan().sum().item_long(), flat.isinf().sum().item_long());
      }
      long half = elements / 2;
      return inFlat(flat.narrow(0, 0, half)).plus(inFlat(flat.narrow(0, half, elements - half)));
    }
  }

  private NonFinite plus(NonFinite other) {
    return new NonFinite(nan + other.nan, infinite + other.infinite);
  }

  /** For example {@code 3 NaN and 1 infinite of 4096 F32 values}. */
  String describe(long elements, ScalarType dtype) {
    String what =
        nan == 0
            ? infinite + " infinite"
            : nan + " NaN" + (infinite == 0 ? "" : " and " + infinite + " infinite");
    return what + " of " + elements + " " + SafetensorsDtype.name(dtype) + " values";
  }
}
