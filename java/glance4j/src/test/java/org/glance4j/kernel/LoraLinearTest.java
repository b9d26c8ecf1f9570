package org.glance4j.kernel;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.LoraLinear.Slice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraPair;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Against the formula in float64, at ragged sizes. */
class LoraLinearTest {
  private static final double TOLERANCE = 1e-5;

  @ParameterizedTest
  @CsvSource({"1,1,1,1,1,1", "2,5,7,3,2,4", "3,17,13,29,8,31", "2,48,64,64,16,256"})
  void equalsTheFormula(long batch, long tokens, long in, long first, long rank, long second) {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Tensor w = random(in, first + second, in);
      Tensor b = random(1, first + second);
      Tensor x = random(1, batch, tokens, in);
      List<Slice> slices = List.of(new Slice("a", 0, first), new Slice("b", first, second));
      LoraAdapter one =
          new LoraAdapter("one", Map.of("a", pair(in, rank, first), "b", pair(in, rank, second)));
      LoraAdapter two = new LoraAdapter("two", Map.of("b", pair(in, rank + 1, second)));
      AdapterMix mix =
          new AdapterMix(List.of(new AdapterMix.Part(one, 0.7), new AdapterMix.Part(two, -0.3)));

      LoraLinear linear = new LoraLinear(w, b, slices);
      Tensor merged = formula(w, mix, slices);
      Tensor expected = x.to(ScalarType.Double).matmul(merged.t()).add(b);
      assertClose("forward", expected, linear.forward(x, mix), TOLERANCE);
      assertClose("merged", merged, linear.mergedWeight(mix), TOLERANCE);
      assertExact(
          "no adapter",
          linear.forward(x, AdapterMix.NONE),
          new LoraLinear(merged.clone().copy_(w).to(ScalarType.Float), b, slices)
              .forward(x, AdapterMix.NONE));
    }
  }

  /** W + sum of strength * scale * B A, row range by row range, in float64. */
  private static Tensor formula(Tensor w, AdapterMix mix, List<Slice> slices) {
    TensorVector rows = new TensorVector();
    for (Slice slice : slices) {
      Tensor part = w.narrow(0, slice.offset(), slice.outFeatures()).to(ScalarType.Double);
      for (AdapterMix.Part adapter : mix.parts()) {
        LoraPair pair = adapter.adapter().pair(slice.name());
        if (pair != null) {
          Tensor product =
              pair.up().to(ScalarType.Double).matmul(pair.down().to(ScalarType.Double));
          part = part.add(product.mul(new Scalar(adapter.strength() * pair.scale())));
        }
      }
      rows.push_back(part);
    }
    return torch.cat(rows, 0);
  }

  @ParameterizedTest
  @CsvSource({"3,4", "4,3"})
  void refusesSlicesThatDoNotCoverTheWeight(long rows, long values) {
    try (PointerScope scope = new PointerScope()) {
      Tensor w = random(1, rows, 2);
      Tensor b = random(1, values);
      List<Slice> slices = List.of(new Slice("a", 0, 4));
      assertThrows(IllegalArgumentException.class, () -> new LoraLinear(w, b, slices));
    }
  }

  private static LoraPair pair(long in, long rank, long out) {
    return new LoraPair(random(in, rank, in), random(rank, out, rank), 4);
  }

  /** Normal values with variance 1 / fanIn, so that products stay near 1. */
  private static Tensor random(long fanIn, long... shape) {
    return torch
        .randn(shape, new TensorOptions(ScalarType.Float))
        .mul(new Scalar(1 / Math.sqrt((double) fanIn)));
  }
}
