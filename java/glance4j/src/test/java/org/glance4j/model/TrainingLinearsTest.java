package org.glance4j.model;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorArrayRefOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.kernel.TestBackends;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraPair;
import org.glance4j.lora.SelectedMix;
import org.glance4j.weights.SafetensorsWriter;
import org.glance4j.weights.Weights;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Gradients of stacked linears with adapters, on every backend, against float64. */
class TrainingLinearsTest {
  private static final int IN = 13;
  private static final Map<String, Integer> WIDTHS = widths();

  private static Path file;

  /** Three linears side by side, of which the last has an activation. */
  private static Map<String, Integer> widths() {
    Map<String, Integer> widths = new LinkedHashMap<>();
    widths.put("q", 7);
    widths.put("k", 5);
    widths.put("mlp", 18);
    return widths;
  }

  private static <T> T of(Map<String, T> map, String name) {
    return Objects.requireNonNull(map.get(name), name);
  }

  private static int out() {
    return WIDTHS.values().stream().mapToInt(Integer::intValue).sum();
  }

  @BeforeAll
  static void writeWeights(@TempDir Path folder) throws IOException {
    NativeRuntime.initialize();
    file = folder.resolve("linears.safetensors");
    try (PointerScope scope = new PointerScope();
        OutputStream out = Files.newOutputStream(file)) {
      torch.manual_seed(5);
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      WIDTHS.forEach(
          (name, width) -> {
            tensors.put(name + ".weight", torch.randn(width, IN));
            tensors.put(name + ".bias", torch.randn(width));
          });
      SafetensorsWriter.write(out, tensors, Map.of());
    }
  }

  @AfterAll
  static void deleteWeights() throws IOException {
    Files.deleteIfExists(file);
  }

  /** The stacked linears with what they are made of. */
  private static final class Opened implements AutoCloseable {
    private final Weights weights;
    private final Linears linears;
    private final LoraLinears stacked;

    Opened(Backend backend, ScalarType dtype) {
      weights = Weights.openFile(file, dtype);
      linears = new Linears(weights, AdapterMix.NONE, backend, true);
      List<Linears.Part> parts = new ArrayList<>();
      WIDTHS.forEach(
          (name, width) ->
              parts.add(
                  new Linears.Part(
                      name, width, name.equals("mlp") ? Activation.GELU_TANH : Activation.NONE)));
      stacked = linears.stacked(IN, parts);
    }

    @Override
    public void close() {
      linears.close();
      weights.close();
    }
  }

  private static Tensor leaf(Backend backend, Tensor values, ScalarType dtype) {
    Tensor leaf = backend.place(values.to(dtype)).detach().clone();
    leaf.set_requires_grad(true);
    return leaf;
  }

  /** Adapters of several shapes, the same values whatever the type. */
  private static final class Adapters {
    final Map<String, LoraPair> first = new LinkedHashMap<>();
    final Map<String, LoraPair> second = new LinkedHashMap<>();

    Adapters(Backend backend, ScalarType dtype) {
      torch.manual_seed(6);
      first.put("q", pair(backend, dtype, 4, of(WIDTHS, "q"), 2));
      first.put("k", pair(backend, dtype, 1, of(WIDTHS, "k"), 0.5));
      first.put("mlp", pair(backend, dtype, 9, of(WIDTHS, "mlp"), 1));
      second.put("k", pair(backend, dtype, 3, of(WIDTHS, "k"), 4));
    }

    private static LoraPair pair(
        Backend backend, ScalarType dtype, int rank, int width, double scale) {
      return new LoraPair(
          leaf(backend, torch.randn(rank, IN), dtype),
          leaf(backend, torch.randn(width, rank), dtype),
          scale);
    }

    AdapterMix mix(String which) {
      LoraAdapter all = new LoraAdapter("all", first);
      return switch (which) {
        case "none" -> AdapterMix.NONE;
        case "all" -> AdapterMix.of(all);
        case "one" -> AdapterMix.of(new LoraAdapter("one", Map.of("k", of(first, "k"))), -0.3);
        case "two" ->
            new AdapterMix(
                List.of(
                    new AdapterMix.Part(all, 0.7),
                    new AdapterMix.Part(new LoraAdapter("second", second), -0.2)));
        default -> throw new AssertionError(which);
      };
    }

    Map<String, Tensor> matrices() {
      Map<String, Tensor> all = new LinkedHashMap<>();
      first.forEach((name, pair) -> put(all, "first." + name, pair));
      second.forEach((name, pair) -> put(all, "second." + name, pair));
      return all;
    }

    private static void put(Map<String, Tensor> all, String name, LoraPair pair) {
      all.put(name + ".A", pair.down());
      all.put(name + ".B", pair.up());
    }
  }

  static Stream<Arguments> cases() {
    return TestBackends.all().stream()
        .flatMap(
            backend ->
                Stream.of("none", "all", "one", "two")
                    .flatMap(
                        mix ->
                            Stream.of(
                                Arguments.of(backend, mix, 1, 1),
                                Arguments.of(backend, mix, 1, 11),
                                Arguments.of(backend, mix, 3, 5))));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void gradientsAreThoseOfFloat64(Backend backend, String which, int batch, int tokens) {
    try (PointerScope scope = new PointerScope();
        Opened exact = new Opened(Backend.TORCH, ScalarType.Double);
        Opened opened = new Opened(backend, ScalarType.Float)) {
      torch.manual_seed(7);
      Tensor values = torch.randn(batch, tokens, IN);
      Tensor weights = torch.randn(batch, tokens, out());
      Adapters expected = new Adapters(Backend.TORCH, ScalarType.Double);
      Adapters actual = new Adapters(backend, ScalarType.Float);
      Tensor expectedX = leaf(Backend.TORCH, values, ScalarType.Double);
      Tensor actualX = leaf(backend, values, ScalarType.Float);

      Tensor want = exact.stacked.forward(expectedX, expected.mix(which));
      Tensor have = opened.stacked.forward(actualX, actual.mix(which));
      assertRelative("y", want, have);
      want.mul(weights.to(ScalarType.Double)).sum().backward();
      have.mul(backend.place(weights)).sum().backward();

      assertRelative("x", expectedX.grad(), actualX.grad());
      expected
          .matrices()
          .forEach(
              (name, matrix) -> {
                Tensor gradient = of(actual.matrices(), name).grad();
                assertEquals(matrix.grad().defined(), gradient.defined(), name);
                if (gradient.defined()) {
                  assertRelative(name, matrix.grad(), gradient);
                }
              });
    }
  }

  private static void assertRelative(String what, Tensor expected, Tensor actual) {
    double size = Math.max(1e-3, expected.abs().max().item_double());
    assertClose(what, expected, actual, 1e-5 * size);
  }

  /** Of LibTorch's own gradients, too: the activation works in place on a part of the columns. */
  @Test
  void float64GradientsAreFiniteDifferences() {
    try (PointerScope scope = new PointerScope();
        Opened opened = new Opened(Backend.TORCH, ScalarType.Double)) {
      Adapters adapters = new Adapters(Backend.TORCH, ScalarType.Double);
      AdapterMix mix = adapters.mix("two");
      Map<String, Tensor> variables = adapters.matrices();
      torch.manual_seed(8);
      variables.put("x", leaf(Backend.TORCH, torch.randn(2, 5, IN), ScalarType.Double));
      Tensor x = variables.get("x");
      loss(opened.stacked, x, mix).backward();
      variables.forEach(
          (name, variable) -> {
            Tensor direction = torch.randn_like(variable);
            double expected = variable.grad().mul(direction).sum().item_double();
            double step = 1e-5;
            double after = moved(opened.stacked, x, mix, variable, direction, step);
            double before = moved(opened.stacked, x, mix, variable, direction, -step);
            double actual = (after - before) / (2 * step);
            assertEquals(expected, actual, 1e-6 * Math.max(1, Math.abs(expected)), name);
          });
    }
  }

  private static Tensor loss(LoraLinears linears, Tensor x, AdapterMix mix) {
    Tensor y = linears.forward(x, mix);
    return y.mul(y).sum();
  }

  private static double moved(
      LoraLinears linears,
      Tensor x,
      AdapterMix mix,
      Tensor variable,
      Tensor direction,
      double step) {
    try (NoGradGuard guard = new NoGradGuard()) {
      variable.add_(direction, new Scalar(step));
      double loss = loss(linears, x, mix).item_double();
      variable.sub_(direction, new Scalar(step));
      return loss;
    }
  }

  /** Neither the value nor a gradient is anything but what the arithmetic gives. */
  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void hidesNoNan(Backend backend) {
    try (PointerScope scope = new PointerScope();
        Opened opened = new Opened(backend, ScalarType.Float)) {
      for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
        Adapters adapters = new Adapters(backend, ScalarType.Float);
        Tensor values = torch.randn(1, 4, IN);
        values.select(1, 2).select(1, 3).fill_(new Scalar(bad));
        Tensor y =
            opened.stacked.project(leaf(backend, values, ScalarType.Float), adapters.mix("all"));
        Tensor finite = y.isfinite();
        assertFalse(finite.select(1, 2).any().item_bool(), "the row of " + bad);
        assertTrue(finite.narrow(1, 0, 2).all().item_bool(), "rows before " + bad);
        assertTrue(finite.select(1, 3).all().item_bool(), "the row after " + bad);
        y.sum().backward();
        Tensor gradient = of(adapters.first, "q").down().grad();
        assertFalse(gradient.select(1, 3).isfinite().any().item_bool(), "dA of " + bad);
        assertTrue(gradient.narrow(1, 0, 3).isfinite().all().item_bool(), "dA elsewhere");
      }
    }
  }

  /** The matrices may take a step of the optimiser between forward and backward pass. */
  /** As LibTorch does. */
  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void refusesAdaptersThatChangeBeforeTheBackwardPass(Backend backend) {
    try (PointerScope scope = new PointerScope();
        Opened opened = new Opened(backend, ScalarType.Float)) {
      Adapters adapters = new Adapters(backend, ScalarType.Float);
      Tensor x = backend.place(torch.randn(1, 4, IN));
      Tensor y = opened.stacked.project(x, adapters.mix("all"));
      try (NoGradGuard guard = new NoGradGuard()) {
        adapters.matrices().values().forEach(matrix -> matrix.mul_(new Scalar(3)));
      }
      Tensor sum = y.sum();
      assertThrows(RuntimeException.class, sum::backward);
      Tensor again = opened.stacked.project(x, adapters.mix("all"));
      assertFalse(torch.allclose(y, again), "the next pass reads the new values");
      again.sum().backward();
    }
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void recordsOnlyWhatIsAskedFor(Backend backend) {
    try (PointerScope scope = new PointerScope();
        Opened opened = new Opened(backend, ScalarType.Float)) {
      Adapters adapters = new Adapters(backend, ScalarType.Float);
      Tensor x = backend.place(torch.randn(1, 4, IN));
      assertFalse(opened.stacked.forward(x, AdapterMix.NONE).requires_grad());
      Tensor recorded = opened.stacked.project(x, adapters.mix("all"));
      assertTrue(recorded.requires_grad());
      try (NoGradGuard guard = new NoGradGuard()) {
        Tensor y = opened.stacked.project(x, adapters.mix("all"));
        assertFalse(y.requires_grad());
        assertExact("the same value", recorded, y);
      }
    }
  }

  /** bf16: the kernel's f32 gradients reach matrices in the model's type. */
  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void computesInBf16(Backend backend) {
    try (PointerScope scope = new PointerScope();
        Opened exact = new Opened(Backend.TORCH, ScalarType.Double);
        Opened opened = new Opened(backend, ScalarType.BFloat16)) {
      torch.manual_seed(9);
      Tensor values = torch.randn(1, 33, IN).to(ScalarType.BFloat16);
      Adapters expected = new Adapters(Backend.TORCH, ScalarType.Double);
      Adapters actual = new Adapters(backend, ScalarType.BFloat16);
      exact.stacked.project(values.to(ScalarType.Double), expected.mix("two")).sum().backward();
      opened.stacked.project(backend.place(values), actual.mix("two")).sum().backward();
      expected
          .matrices()
          .forEach(
              (name, matrix) -> {
                Tensor gradient = of(actual.matrices(), name).grad();
                double size = matrix.grad().abs().max().item_double();
                assertClose(name, matrix.grad(), gradient, 0.03 * size);
              });
    }
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void refusesWhatItCannotDo(Backend backend) {
    try (PointerScope scope = new PointerScope();
        Opened opened = new Opened(backend, ScalarType.Float)) {
      Adapters adapters = new Adapters(backend, ScalarType.Float);
      Tensor x = backend.place(torch.randn(1, 4, IN));
      Tensor selection = torch.zeros(new long[] {1}, new TensorOptions(ScalarType.Int));
      SelectedMix selected = new SelectedMix(List.of(adapters.mix("all")), selection);
      assertMessage("selected in device memory", () -> opened.stacked.forward(x, selected));
      if (backend != Backend.TORCH) {
        Tensor sum = opened.stacked.project(x, adapters.mix("all")).sum();
        sum.backward(new Tensor(), new BoolOptional(true), false, new TensorArrayRefOptional());
        assertMessage("have been taken", sum::backward);
      }
    }
  }

  /** A model's own scopes end before its backward pass begins. */
  @Test
  void needsAScopeForItsHooks() throws Exception {
    try (PointerScope outer = new PointerScope();
        Opened opened = new Opened(Backend.CPU, ScalarType.Float)) {
      Adapters adapters = new Adapters(Backend.CPU, ScalarType.Float);
      Tensor x = torch.randn(1, 4, IN);
      List<Throwable> thrown = new ArrayList<>();
      Thread thread =
          new Thread(
              () -> {
                try {
                  opened.stacked.project(x, adapters.mix("all"));
                } catch (IllegalStateException e) {
                  thrown.add(e);
                }
              });
      thread.start();
      thread.join();
      assertEquals(1, thrown.size());
      assertTrue(String.valueOf(thrown.get(0).getMessage()).contains("PointerScope"));
    }
  }

  private static void assertMessage(String part, Runnable action) {
    RuntimeException e = assertThrows(RuntimeException.class, action::run);
    assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage());
  }
}
