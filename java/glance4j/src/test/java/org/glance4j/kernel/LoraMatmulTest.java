package org.glance4j.kernel;

import static org.glance4j.kernel.Operations.BF16;
import static org.glance4j.kernel.Operations.F32;
import static org.glance4j.kernel.Operations.assertNear;
import static org.glance4j.kernel.Operations.assertRefused;
import static org.glance4j.kernel.Operations.assertSameBits;
import static org.glance4j.kernel.Operations.weights;
import static org.glance4j.kernel.Operations.wide;
import static org.glance4j.kernel.TestScope.empty;
import static org.glance4j.kernel.TestScope.randn;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.kernel.LoraMatmul.Adapter;
import org.glance4j.kernel.LoraMatmul.GatedResidual;
import org.glance4j.kernel.LoraMatmul.Linear;
import org.glance4j.kernel.LoraMatmul.Segment;
import org.glance4j.kernel.LoraMatmul.Up;
import org.glance4j.kernel.Operations.Setting;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class LoraMatmulTest {
  /** Batch, tokens, K, the widths of the linears, ranks. */
  record Case(
      Setting setting,
      long batch,
      long tokens,
      long inputs,
      List<Long> outputs,
      long rank,
      long gap)
      implements Operations.Placed {}

  static Stream<Case> cases() {
    List<Case> cases = new ArrayList<>();
    Operations.settings()
        .forEach(
            setting -> {
              cases.add(new Case(setting, 1, 1, 1, List.of(1L), 1, 0));
              cases.add(new Case(setting, 2, 3, 17, List.of(13L, 29L), 5, 3));
              cases.add(new Case(setting, 2, 19, 64, List.of(64L, 64L, 64L, 256L), 16, 0));
              cases.add(new Case(setting, 3, 7, 131, List.of(31L, 1L, 97L), 33, 1));
            });
    return cases.stream();
  }

  /** A linear's tensors beside what the kernel is given of them. */
  private record Layer(Tensor weight, @Nullable Tensor bias, PackedMatrix packed) {
    static Layer random(Case c, long outputs, boolean withBias) {
      ScalarType dtype = c.setting().dtype();
      Tensor weight = weights(dtype, c.inputs(), outputs, c.inputs());
      return new Layer(
          weight,
          withBias ? randn(outputs).to(dtype) : null,
          PackedMatrix.of(c.setting().backend(), weight));
    }

    Tensor exact(Tensor x) {
      Tensor sum = wide(x).matmul(wide(weight).t());
      return bias == null ? sum : sum.add(wide(bias));
    }
  }

  /** An adapter of all linears but the second, each with its own rows of A. */
  private record Lora(Tensor down, List<@Nullable Tensor> ups, float scale, Adapter packed) {
    static Lora random(Case c, long rank, float scale) {
      ScalarType dtype = c.setting().dtype();
      Backend backend = c.setting().backend();
      List<@Nullable Tensor> ups = new ArrayList<>();
      List<@Nullable Up> packed = new ArrayList<>();
      long rows = 0;
      for (int i = 0; i < c.outputs().size(); i++) {
        if (i == 1) {
          ups.add(null);
          packed.add(null);
          continue;
        }
        Tensor up = weights(dtype, rank, c.outputs().get(i), rank);
        ups.add(up);
        packed.add(new Up(PackedMatrix.of(backend, up), rows));
        rows += rank;
      }
      Tensor down = weights(dtype, c.inputs(), rows, c.inputs());
      return new Lora(down, ups, scale, new Adapter(PackedMatrix.of(backend, down), packed, scale));
    }

    /** scale * (x A^T) B^T in float64, for rows [begin, end) of x. */
    void addTo(Tensor sum, Tensor x, int linear, Segment segment) {
      Tensor up = ups.get(linear);
      Up place = packed.ups().get(linear);
      if (up == null || place == null) {
        return;
      }
      long count = segment.end() - segment.begin();
      Tensor rows = wide(x).flatten(0, -2).narrow(0, segment.begin(), count);
      Tensor mine = wide(down).narrow(0, place.first(), up.size(1));
      Tensor update = rows.matmul(mine.t()).matmul(wide(up).t()).mul(new Scalar((double) scale));
      sum.view(-1, up.size(0)).narrow(0, segment.begin(), count).add_(update);
    }
  }

  private static Tensor gelu(Tensor x) {
    return torch.gelu(x, "tanh");
  }

  @ParameterizedTest
  @MethodSource("cases")
  void equalsTheFormula(Case c) throws Exception {
    Operations.withRandom(c, what -> check(c, what));
  }

  private static void check(Case c, String what) {
    ScalarType dtype = c.setting().dtype();
    // LibTorch's product in bf16, where the CPU has AMX, reads an element past an odd K.
    long gap = c.setting().backend() == Backend.TORCH ? 0 : c.gap();
    Tensor x = Framed.random(gap, dtype, c.batch(), c.tokens(), c.inputs()).view();
    long rows = c.batch() * c.tokens();
    List<Lora> loras = List.of(Lora.random(c, c.rank(), 0.7f), Lora.random(c, c.rank() + 1, -1.5f));
    List<Segment> segments =
        List.of(
            new Segment(0, rows / 3, 1),
            new Segment(rows / 3, rows / 3, 0),
            new Segment(rows / 3, rows - rows / 4, -1),
            new Segment(rows - rows / 4, rows, 0));
    List<Linear> linears = new ArrayList<>();
    List<Framed> outputs = new ArrayList<>();
    List<Tensor> expected = new ArrayList<>();
    for (int i = 0; i < c.outputs().size(); i++) {
      long width = c.outputs().get(i);
      Layer layer = Layer.random(c, width, i != 2);
      Framed y = Framed.poisoned(c.gap(), dtype, c.batch(), c.tokens(), width);
      Tensor sum = layer.exact(x);
      for (Segment segment : segments) {
        if (segment.adapter() >= 0) {
          loras.get(segment.adapter()).addTo(sum, x, i, segment);
        }
      }
      GatedResidual gated = null;
      if (i % 3 == 0) {
        Tensor gate = randn(c.batch(), 1, width).to(dtype);
        Tensor residual = Framed.random(c.gap(), dtype, c.batch(), c.tokens(), width).view();
        gated = new GatedResidual(i == 0 ? gate : gate.squeeze(1), residual);
        sum = wide(residual).add(wide(gate).mul(sum));
      }
      Activation activation = i % 3 == 1 ? Activation.GELU_TANH : Activation.NONE;
      expected.add(activation == Activation.NONE ? sum : gelu(sum));
      outputs.add(y);
      linears.add(new Linear(layer.packed(), layer.bias(), y.view(), activation, gated));
    }
    List<Adapter> adapters = loras.stream().map(Lora::packed).toList();
    LoraMatmul.on(c.setting().backend()).forward(x, linears, adapters, segments, null);
    for (int i = 0; i < expected.size(); i++) {
      String linear = what + ", linear " + i;
      assertNear(linear, expected.get(i), outputs.get(i).view(), c.setting().tolerance());
      outputs.get(i).assertFrameUntouched(linear);
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void linearsShareOneOutput(Case c) throws Exception {
    Operations.withRandom(
        c,
        what -> {
          ScalarType dtype = c.setting().dtype();
          LoraMatmul matmul = LoraMatmul.on(c.setting().backend());
          Tensor x = randn(c.batch(), c.tokens(), c.inputs()).to(dtype);
          Lora lora = Lora.random(c, c.rank(), 2);
          long total = c.outputs().stream().mapToLong(Long::longValue).sum();
          Framed y = Framed.poisoned(c.gap(), dtype, c.batch(), c.tokens(), total);
          List<Linear> together = new ArrayList<>();
          List<Linear> apart = new ArrayList<>();
          TensorVector parts = new TensorVector();
          long column = 0;
          for (long width : c.outputs()) {
            Layer layer = Layer.random(c, width, true);
            Tensor part = Framed.poisoned(0, dtype, c.batch(), c.tokens(), width).view();
            parts.push_back(part);
            apart.add(new Linear(layer.packed(), layer.bias(), part, Activation.NONE, null));
            together.add(
                new Linear(layer.packed(), layer.bias(), y.view(), column, Activation.NONE, null));
            column += width;
          }
          matmul.forward(x, together, lora.packed());
          matmul.forward(x, apart, lora.packed());
          assertNear(what, torch.cat(parts, -1), y.view(), c.setting().tolerance());
          y.assertFrameUntouched(what);
        });
  }

  @ParameterizedTest
  @MethodSource("cases")
  void takesTheDownProjectionFromOutside(Case c) throws Exception {
    Operations.withRandom(
        c,
        what -> {
          ScalarType dtype = c.setting().dtype();
          LoraMatmul matmul = LoraMatmul.on(c.setting().backend());
          Tensor x = randn(c.batch() * c.tokens(), c.inputs()).to(dtype);
          Lora lora = Lora.random(c, c.rank(), 0.5f);
          Layer layer = Layer.random(c, c.outputs().get(0), true);
          Adapter first =
              new Adapter(lora.packed().down(), lora.packed().ups().subList(0, 1), lora.scale());
          Tensor h =
              wide(x)
                  .matmul(wide(lora.down()).t())
                  .mul(new Scalar((double) lora.scale()))
                  .to(dtype);
          Tensor inside = Framed.poisoned(0, dtype, x.size(0), c.outputs().get(0)).view();
          Tensor outside = Framed.poisoned(0, dtype, x.size(0), c.outputs().get(0)).view();
          matmul.forward(x, List.of(linear(layer, inside)), first);
          matmul.forward(
              x,
              List.of(linear(layer, outside)),
              List.of(first),
              List.of(new Segment(0, x.size(0), 0)),
              h);
          assertNear(what, inside, outside, c.setting().tolerance());
        });
  }

  private static Linear linear(Layer layer, Tensor y) {
    return new Linear(layer.packed(), layer.bias(), y, Activation.NONE, null);
  }

  @ParameterizedTest
  @MethodSource("cases")
  void addsToTheResidualInPlace(Case c) throws Exception {
    Operations.withRandom(
        c,
        what -> {
          ScalarType dtype = c.setting().dtype();
          long width = c.outputs().get(0);
          Tensor x = randn(c.batch(), c.tokens(), c.inputs()).to(dtype);
          Tensor state = Framed.random(c.gap(), dtype, c.batch(), c.tokens(), width).view();
          Tensor gate = randn(c.batch(), width).to(dtype);
          Layer layer = Layer.random(c, width, true);
          Tensor expected = wide(state).add(wide(gate).unsqueeze(1).mul(layer.exact(x)));
          Linear linear =
              new Linear(
                  layer.packed(),
                  layer.bias(),
                  state,
                  Activation.NONE,
                  new GatedResidual(gate, state));
          LoraMatmul.on(c.setting().backend()).forward(x, List.of(linear));
          assertNear(what, expected, state, c.setting().tolerance());
        });
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.Operations#settings")
  void noRowsAreNoError(Setting setting) {
    try (TestScope scope = TestScope.on(setting.backend())) {
      Case c = new Case(setting, 1, 1, 4, List.of(3L), 2, 0);
      Tensor x = randn(0, 5, 4).to(setting.dtype());
      Tensor y = randn(0, 5, 3).to(setting.dtype());
      Linear linear = linear(Layer.random(c, 3, true), y);
      LoraMatmul.on(setting.backend()).forward(x, List.of(linear));
      LoraMatmul.on(setting.backend()).forward(x, List.of(linear), Lora.random(c, 2, 1).packed());
    }
  }

  @Test
  void bitsDoNotDependOnThreadsOrOtherRows() throws Exception {
    for (ScalarType dtype : List.of(F32, BF16)) {
      Case c = new Case(new Setting(Backend.CPU, dtype), 1, 70, 96, List.of(200L, 31L), 8, 0);
      Operations.withRandom(
          c,
          what -> {
            Tensor x = randn(70, 96).to(dtype);
            List<Layer> layers = List.of(Layer.random(c, 200, true), Layer.random(c, 31, false));
            Adapter adapter = Lora.random(c, 8, 1).packed();
            int threads = torch.get_num_threads();
            try {
              NativeRuntime.setThreads(1);
              List<Tensor> one = run(dtype, x, layers, adapter);
              NativeRuntime.setThreads(2);
              List<Tensor> two = run(dtype, x, layers, adapter);
              List<Tensor> part = run(dtype, x.narrow(0, 41, 5), layers, adapter);
              for (int i = 0; i < one.size(); i++) {
                assertSameBits(what + ", threads", one.get(i), two.get(i));
                assertSameBits(what + ", rows", one.get(i).narrow(0, 41, 5), part.get(i));
              }
            } finally {
              NativeRuntime.setThreads(threads);
            }
          });
    }
  }

  private static List<Tensor> run(ScalarType dtype, Tensor x, List<Layer> layers, Adapter adapter) {
    List<Tensor> outputs = new ArrayList<>();
    List<Linear> linears = new ArrayList<>();
    for (Layer layer : layers) {
      Tensor y = Framed.poisoned(0, dtype, x.size(0), layer.packed().rows()).view();
      outputs.add(y);
      linears.add(linear(layer, y));
    }
    LoraMatmul.on(Backend.CPU).forward(x, linears, adapter);
    return outputs;
  }

  @Test
  void torchRecordsGradients() {
    try (PointerScope scope = new PointerScope()) {
      Tensor down = randn(2, 4).set_requires_grad(true);
      Tensor up = randn(3, 2).set_requires_grad(true);
      Tensor y = empty(5, 3);
      Adapter adapter =
          new Adapter(
              PackedMatrix.of(Backend.TORCH, down),
              List.of(new Up(PackedMatrix.of(Backend.TORCH, up), 0)),
              1);
      PackedMatrix weight = PackedMatrix.of(Backend.TORCH, randn(3, 4));
      LoraMatmul.on(Backend.TORCH)
          .forward(
              randn(5, 4),
              List.of(new Linear(weight, null, y, Activation.GELU_TANH, null)),
              adapter);
      y.sum().backward();
      assertTrue(down.grad().abs().max().item_double() > 0);
      assertTrue(up.grad().abs().max().item_double() > 0);
    }
  }

  /** Arguments of a call that a test spoils one at a time. */
  private static final class Call {
    final Backend backend;
    Tensor x = randn(2, 3, 8);
    PackedMatrix weight;
    @Nullable Tensor bias = randn(5);
    Tensor y = randn(2, 3, 5);
    long column = Linear.WHOLE;
    Activation activation = Activation.NONE;
    Tensor gate = randn(2, 1, 5);
    Tensor residual = randn(2, 3, 5);
    PackedMatrix down;
    PackedMatrix up;
    long first = 1;
    float scale = 1;
    int linears = 1;
    int adapters = 1;
    List<Segment> segments = List.of(new Segment(0, 4, 0), new Segment(4, 6, -1));
    @Nullable Tensor h;

    Call(Backend backend) {
      this.backend = backend;
      this.weight = pack(5, 8);
      this.down = pack(3, 8);
      this.up = pack(5, 2);
    }

    PackedMatrix pack(long rows, long columns) {
      return PackedMatrix.of(backend, randn(rows, columns));
    }

    void run() {
      Linear linear =
          new Linear(weight, bias, y, column, activation, new GatedResidual(gate, residual));
      Linear[] all = new Linear[linears];
      Arrays.fill(all, linear);
      Adapter adapter = new Adapter(down, List.of(new Up(up, first)), scale);
      Adapter[] table = new Adapter[adapters];
      Arrays.fill(table, adapter);
      LoraMatmul.on(backend).forward(x, List.of(all), List.of(table), segments, h);
    }
  }

  private record Spoiled(String name, Backend backend, Consumer<Call> spoil) {
    @Override
    public String toString() {
      return name + " on " + backend;
    }
  }

  static Stream<Spoiled> refusals() {
    List<Spoiled> all = new ArrayList<>();
    for (Backend b : TestBackends.all()) {
      Backend other = b == Backend.TORCH ? Backend.CPU : Backend.TORCH;
      all.add(new Spoiled("x is", b, c -> c.x = randn(8).sum()));
      all.add(new Spoiled("x must", b, c -> c.x = c.x.to(ScalarType.Double)));
      all.add(new Spoiled("weight", b, c -> c.x = randn(2, 3, 7)));
      all.add(new Spoiled("weight", b, c -> c.weight = c.pack(5, 9)));
      all.add(new Spoiled("weight", b, c -> c.weight = PackedMatrix.of(other, randn(5, 8))));
      all.add(new Spoiled("weight", b, c -> c.weight = PackedMatrix.of(b, randn(5, 8).to(BF16))));
      all.add(new Spoiled("bias", b, c -> c.bias = randn(4)));
      all.add(new Spoiled("bias", b, c -> c.bias = randn(1, 5)));
      all.add(new Spoiled("bias", b, c -> c.bias = randn(5).to(BF16)));
      all.add(new Spoiled("y", b, c -> c.y = randn(2, 3, 6)));
      all.add(new Spoiled("y", b, c -> c.y = randn(6, 5)));
      all.add(new Spoiled("y", b, c -> c.y = randn(2, 4, 5)));
      all.add(new Spoiled("y", b, c -> c.y = c.y.to(BF16)));
      all.add(new Spoiled("y", b, c -> c.column = 1));
      all.add(new Spoiled("y", b, c -> c.column = -2));
      all.add(new Spoiled("activation", b, c -> c.activation = Activation.GELU_TANH));
      all.add(new Spoiled("gate", b, c -> c.gate = randn(3, 1, 5)));
      all.add(new Spoiled("gate", b, c -> c.gate = randn(2, 3, 5)));
      all.add(new Spoiled("gate", b, c -> c.gate = randn(2, 4)));
      all.add(new Spoiled("gate", b, c -> c.gate = c.gate.to(BF16)));
      all.add(new Spoiled("residual", b, c -> c.residual = randn(2, 3, 4)));
      all.add(new Spoiled("residual", b, c -> c.residual = randn(2, 2, 5)));
      all.add(new Spoiled("residual", b, c -> c.residual = c.residual.to(BF16)));
      all.add(new Spoiled("down", b, c -> c.down = c.pack(3, 7)));
      all.add(new Spoiled("down", b, c -> c.down = PackedMatrix.of(other, randn(3, 8))));
      all.add(new Spoiled("up", b, c -> c.up = c.pack(4, 2)));
      all.add(new Spoiled("up", b, c -> c.up = c.pack(5, 3)));
      all.add(new Spoiled("up", b, c -> c.first = 2));
      all.add(new Spoiled("up", b, c -> c.first = -1));
      all.add(
          new Spoiled(
              "256",
              b,
              c -> {
                c.down = c.pack(257, 8);
                c.up = c.pack(5, 257);
                c.first = 0;
              }));
      all.add(new Spoiled("scale", b, c -> c.scale = Float.NaN));
      all.add(new Spoiled("linears", b, c -> c.linears = 0));
      all.add(new Spoiled("linears", b, c -> c.linears = 9));
      all.add(new Spoiled("ups", b, c -> c.linears = 2));
      all.add(new Spoiled("adapters", b, c -> c.adapters = 9));
      all.add(new Spoiled("segments", b, c -> c.adapters = 0));
      all.add(new Spoiled("segments", b, c -> c.segments = List.of()));
      all.add(new Spoiled("segments", b, c -> c.segments = List.of(new Segment(0, 5, 0))));
      all.add(new Spoiled("segments", b, c -> c.segments = List.of(new Segment(0, 7, 0))));
      all.add(new Spoiled("segments", b, c -> c.segments = List.of(new Segment(1, 6, 0))));
      all.add(new Spoiled("segments", b, c -> c.segments = List.of(new Segment(0, 6, 1))));
      all.add(new Spoiled("segments", b, c -> c.segments = List.of(new Segment(0, 6, -2))));
      all.add(
          new Spoiled(
              "segments",
              b,
              c -> c.segments = List.of(new Segment(0, 4, 0), new Segment(3, 6, 0))));
      all.add(new Spoiled("h has", b, c -> c.h = randn(2, 3, 2)));
      all.add(new Spoiled("h has", b, c -> c.h = randn(6, 3)));
    }
    all.add(new Spoiled("x", Backend.CPU, c -> c.x = randn(2, 8, 3).transpose(1, 2)));
    all.add(new Spoiled("x", Backend.CPU, c -> c.x = randn(1, 3, 8).expand(2, 3, 8)));
    all.add(new Spoiled("y", Backend.CPU, c -> c.y = randn(2, 5, 3).transpose(1, 2)));
    all.add(new Spoiled("bias", Backend.CPU, c -> c.bias = randn(5, 2).select(1, 0)));
    all.add(new Spoiled("gradient", Backend.CPU, c -> c.x = c.x.set_requires_grad(true)));
    all.add(new Spoiled("gradient", Backend.CPU, c -> c.gate = c.gate.set_requires_grad(true)));
    return all.stream();
  }

  @ParameterizedTest
  @MethodSource("refusals")
  void refusesWithTheArgumentsName(Spoiled spoiled) {
    try (TestScope scope = TestScope.on(spoiled.backend)) {
      Call call = new Call(spoiled.backend);
      spoiled.spoil.accept(call);
      assertRefused(spoiled.name, call::run);
    }
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.Operations#settings")
  void acceptsWhatTheRefusalsSpoil(Setting setting) {
    try (TestScope scope = TestScope.on(setting.backend())) {
      new Call(setting.backend()).run();
    }
  }
}
