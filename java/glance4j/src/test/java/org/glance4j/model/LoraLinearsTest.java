package org.glance4j.model;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.LoraMatmul;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.kernel.LoraMatmul.Adapter;
import org.glance4j.kernel.LoraMatmul.Up;
import org.glance4j.kernel.PackedMatrix;
import org.glance4j.kernel.TestBackends;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraPair;
import org.glance4j.lora.SelectedMix;
import org.glance4j.model.LoraLinears.Slice;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Against the formula in float64, at ragged sizes. */
class LoraLinearsTest {
  private static final double TOLERANCE = 1e-5;

  /** One linear with the tensors it is made of. */
  private record Layer(Slice slice, Tensor weight, Tensor bias) {}

  private static LoraLinears linears(Backend backend, List<Layer> layers) {
    List<Slice> slices = layers.stream().map(Layer::slice).toList();
    if (backend == Backend.TORCH) {
      TensorVector weights = new TensorVector();
      TensorVector biases = new TensorVector();
      for (Layer layer : layers) {
        weights.push_back(layer.weight());
        biases.push_back(layer.bias());
      }
      return new TorchLinears(torch.cat(weights, 0), torch.cat(biases, 0), slices);
    }
    List<PackedLinears.Packed> packed = new ArrayList<>();
    for (Layer layer : layers) {
      PackedMatrix weight = PackedMatrix.of(backend, backend.place(layer.weight()));
      packed.add(new PackedLinears.Packed(layer.slice(), weight, backend.place(layer.bias())));
    }
    return new PackedLinears(LoraMatmul.on(backend), packed);
  }

  static Stream<Arguments> shapes() {
    return TestBackends.all().stream()
        .flatMap(
            backend ->
                Stream.of(
                    Arguments.of(backend, 1, 1, 1, 1, 1, 1),
                    Arguments.of(backend, 2, 5, 7, 3, 2, 4),
                    Arguments.of(backend, 3, 17, 13, 29, 8, 31),
                    Arguments.of(backend, 2, 48, 64, 64, 16, 256)));
  }

  @ParameterizedTest
  @MethodSource("shapes")
  void equalsTheFormula(
      Backend backend, long batch, long tokens, long in, long first, long rank, long second) {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Tensor x = random(1, batch, tokens, in);
      List<Layer> layers =
          List.of(
              layer("a", 0, in, first, Activation.NONE),
              layer("b", first, in, second, Activation.GELU_TANH));
      LoraAdapter one =
          new LoraAdapter("one", Map.of("a", pair(in, rank, first), "b", pair(in, rank, second)));
      LoraAdapter two = new LoraAdapter("two", Map.of("b", pair(in, rank + 1, second)));
      LoraAdapter other = new LoraAdapter("other", Map.of("c", pair(in, rank, first)));
      try (LoraLinears linears = linears(backend, layers)) {
        for (AdapterMix mix :
            List.of(
                AdapterMix.NONE,
                AdapterMix.of(one),
                AdapterMix.of(one, 0.25),
                AdapterMix.of(two),
                AdapterMix.of(other),
                AdapterMix.of(one, 0),
                mix(one, 0.7, two, -0.3),
                mix(two, 1.5, one, 2))) {
          Tensor a = exact(layers.get(0), x, mix);
          Tensor b = exact(layers.get(1), x, mix);
          Tensor sum = torch.cat(new TensorVector(a, b), -1);
          Tensor expected = torch.cat(new TensorVector(a, torch.gelu(b, "tanh")), -1);
          double size = Math.max(1, sum.abs().max().item_double());
          assertClose("project", sum, linears.project(backend.place(x), mix), TOLERANCE * size);
          assertClose(
              "forward", expected, linears.forward(backend.place(x), mix), TOLERANCE * size);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void addsToAResidual(Backend backend) {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Layer layer = layer("a", 0, 17, 13, Activation.NONE);
      AdapterMix mix = AdapterMix.of(new LoraAdapter("one", Map.of("a", pair(17, 3, 13))));
      // Rows further apart than they are wide, as the columns of a wider tensor are.
      Tensor x = random(1, 2, 5, 40).narrow(2, 20, 17);
      Tensor gate = random(1, 2, 4, 13).narrow(1, 2, 1);
      Tensor residual = random(1, 2, 5, 13);
      Tensor before = residual.clone();
      try (LoraLinears linears = linears(backend, List.of(layer))) {
        Tensor expected =
            residual
                .to(ScalarType.Double)
                .add(gate.to(ScalarType.Double).mul(exact(layer, x, mix)));
        Tensor y =
            linears.forward(backend.place(x), mix, backend.place(gate), backend.place(residual));
        assertClose("gated", expected, y, 10 * TOLERANCE);
        assertExact("the residual is an input", before, residual);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void takesOneSampleRepeated(Backend backend) {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Layer layer = layer("a", 0, 8, 6, Activation.NONE);
      Tensor x = backend.place(random(1, 1, 5, 8)).expand(3, 5, 8);
      try (LoraLinears linears = linears(backend, List.of(layer))) {
        assertClose(
            "repeated",
            exact(layer, x.cpu(), AdapterMix.NONE),
            linears.forward(x, AdapterMix.NONE),
            TOLERANCE * 10);
      }
    }
  }

  /** More linears than one call takes, and more mixes than are kept. */
  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void hasNoLimitOfLinearsOrMixes(Backend backend) {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      List<Layer> layers = new ArrayList<>();
      for (int i = 0; i < 19; i++) {
        layers.add(layer("l" + i, 3L * i, 8, 3, Activation.NONE));
      }
      LoraAdapter adapter =
          new LoraAdapter("one", Map.of("l2", pair(8, 2, 3), "l17", pair(8, 4, 3)));
      Tensor x = random(1, 4, 8);
      try (LoraLinears linears = linears(backend, layers)) {
        for (int turn = 0; turn < 2; turn++) {
          for (int i = 1; i < 12; i++) {
            AdapterMix mix = AdapterMix.of(adapter, i);
            TensorVector parts = new TensorVector();
            layers.forEach(layer -> parts.push_back(exact(layer, x, mix)));
            assertClose(
                "strength " + i,
                torch.cat(parts, -1),
                linears.forward(backend.place(x), mix),
                1e-3);
          }
        }
      }
    }
  }

  /** One recorded call then serves every phase: its adapter is named in device memory. */
  @Test
  void appliesTheMixThatTheDeviceNames() {
    assumeTrue(TestBackends.whyNoCuda() == null, TestBackends.whyNoCuda());
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      List<Layer> layers =
          List.of(layer("a", 0, 24, 16, Activation.NONE), layer("b", 16, 24, 40, Activation.NONE));
      List<AdapterMix> mixes =
          List.of(
              AdapterMix.of(new LoraAdapter("one", Map.of("a", pair(24, 4, 16)))),
              AdapterMix.of(new LoraAdapter("none of these", Map.of("c", pair(24, 4, 16)))),
              AdapterMix.of(new LoraAdapter("two", Map.of("b", pair(24, 16, 40)))));
      Tensor x = Backend.CUDA.place(random(1, 2, 9, 24));
      try (LoraLinears linears = linears(Backend.CUDA, layers)) {
        for (int i = -1; i < mixes.size(); i++) {
          Tensor selection = Backend.CUDA.place(torch.tensor(new int[] {i, i, i}));
          Tensor selected =
              linears.forward(x, new SelectedMix(mixes, selection.to(ScalarType.Int)));
          AdapterMix mix = i < 0 ? AdapterMix.NONE : mixes.get(i);
          assertExact("mix " + i, linears.forward(x, mix), selected);
        }
      }
    }
  }

  @Test
  void onlyCudaReadsWhichMixToApply() {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      List<Layer> layers = List.of(layer("a", 0, 8, 6, Activation.NONE));
      LoraAdapter one = new LoraAdapter("one", Map.of("a", pair(8, 2, 6)));
      Tensor selection = torch.zeros(1).to(ScalarType.Int);
      SelectedMix selected = new SelectedMix(List.of(AdapterMix.of(one)), selection);
      for (Backend backend : List.of(Backend.CPU, Backend.TORCH)) {
        try (LoraLinears linears = linears(backend, layers)) {
          IllegalArgumentException e =
              assertThrows(
                  IllegalArgumentException.class, () -> linears.forward(random(1, 4, 8), selected));
          assertTrue(String.valueOf(e.getMessage()).toLowerCase(Locale.ROOT).contains("cuda"));
        }
      }
      assertThrows(IllegalArgumentException.class, () -> new SelectedMix(List.of(), selection));
      assertThrows(
          IllegalArgumentException.class,
          () -> new SelectedMix(List.of(AdapterMix.of(one), AdapterMix.NONE), selection));
    }
  }

  @Test
  void everyMixHasItsIndexInEveryCall() {
    try (PointerScope scope = new PointerScope()) {
      PackedMatrix down = PackedMatrix.of(Backend.CPU, random(1, 4, 8));
      Up up = new Up(PackedMatrix.of(Backend.CPU, random(1, 6, 4)), 0);
      Adapter adapter = new Adapter(down, Arrays.asList(up, null), 0.5f);
      List<@Nullable Adapter> gaps = Arrays.asList(null, adapter, null);
      List<Adapter> filled = AdapterPacks.withoutGaps(gaps);
      assertEquals(3, filled.size());
      assertEquals(adapter, filled.get(1));
      for (int idle : new int[] {0, 2}) {
        assertEquals(Arrays.asList(null, null), filled.get(idle).ups());
        assertEquals(down, filled.get(idle).down());
      }
      assertEquals(List.of(), AdapterPacks.withoutGaps(Arrays.asList(null, null)));
    }
  }

  @Test
  void namesAnAdapterOfTooHighARank() {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      LoraAdapter wide = new LoraAdapter("wide one", Map.of("a", pair(8, 200, 6)));
      LoraAdapter other = new LoraAdapter("other", Map.of("a", pair(8, 57, 6)));
      Tensor x = random(1, 4, 8);
      try (LoraLinears linears =
          linears(Backend.CPU, List.of(layer("a", 0, 8, 6, Activation.NONE)))) {
        linears.forward(x, AdapterMix.of(wide));
        IllegalArgumentException e =
            assertThrows(
                IllegalArgumentException.class, () -> linears.forward(x, mix(wide, 1, other, 1)));
        assertTrue(String.valueOf(e.getMessage()).contains("wide one"), e.getMessage());
      }
    }
  }

  @Test
  void closedRefuses() {
    try (PointerScope scope = new PointerScope()) {
      LoraLinears linears = linears(Backend.CPU, List.of(layer("a", 0, 8, 6, Activation.NONE)));
      linears.close();
      linears.close();
      Tensor x = random(1, 4, 8);
      assertThrows(IllegalStateException.class, () -> linears.forward(x, AdapterMix.NONE));
    }
  }

  @Test
  void mergedIsTheFormula() {
    try (PointerScope scope = new PointerScope()) {
      Tensor weight = random(17, 13, 17);
      LoraPair one = pair(17, 3, 13);
      LoraPair two = pair(17, 5, 13);
      AdapterMix mix =
          mix(
              new LoraAdapter("one", Map.of("a", one)),
              0.5,
              new LoraAdapter("two", Map.of("a", two)),
              -2);
      Tensor expected = weight.to(ScalarType.Double).add(delta(one, 0.5)).add(delta(two, -2));
      assertClose("merged", expected, LoraLinears.merged(weight, "a", mix), TOLERANCE * 10);
      assertExact("not named", weight, LoraLinears.merged(weight, "b", mix));
    }
  }

  @ParameterizedTest
  @CsvSource({"3,4", "4,3"})
  void refusesSlicesThatDoNotCoverTheWeight(long rows, long values) {
    try (PointerScope scope = new PointerScope()) {
      Tensor w = random(1, rows, 2);
      Tensor b = random(1, values);
      List<Slice> slices = List.of(new Slice("a", 0, 4, Activation.NONE));
      assertThrows(IllegalArgumentException.class, () -> new TorchLinears(w, b, slices));
    }
  }

  private static AdapterMix mix(LoraAdapter a, double strengthA, LoraAdapter b, double strengthB) {
    return new AdapterMix(
        List.of(new AdapterMix.Part(a, strengthA), new AdapterMix.Part(b, strengthB)));
  }

  private static Layer layer(String name, long offset, long in, long out, Activation activation) {
    return new Layer(new Slice(name, offset, out, activation), random(in, out, in), random(1, out));
  }

  /** x (W + sum of strength * scale * B A)^T + b in float64. */
  private static Tensor exact(Layer layer, Tensor x, AdapterMix mix) {
    Tensor weight = layer.weight().to(ScalarType.Double);
    for (AdapterMix.Part part : mix.parts()) {
      LoraPair pair = part.adapter().pair(layer.slice().name());
      if (pair != null) {
        weight = weight.add(delta(pair, part.strength()));
      }
    }
    return x.to(ScalarType.Double).matmul(weight.t()).add(layer.bias());
  }

  private static Tensor delta(LoraPair pair, double strength) {
    return pair.up()
        .to(ScalarType.Double)
        .matmul(pair.down().to(ScalarType.Double))
        .mul(new Scalar(strength * pair.scale()));
  }

  private static LoraPair pair(long in, long rank, long out) {
    // Ranks differ in their scale, as alpha / rank does.
    return new LoraPair(random(in, rank, in), random(rank, out, rank), 4.0 / rank);
  }

  /** Normal values with variance 1 / fanIn, so that products stay near 1. */
  private static Tensor random(long fanIn, long... shape) {
    return torch
        .randn(shape, new TensorOptions(ScalarType.Float))
        .mul(new Scalar(1 / Math.sqrt((double) fanIn)));
  }
}
