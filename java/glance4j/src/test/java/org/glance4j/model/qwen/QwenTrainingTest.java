package org.glance4j.model.qwen;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.kernel.TestBackends;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraPair;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.model.dit.TextPadding;
import org.glance4j.reference.Reference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Gradients of the whole transformer, opened for training, against LibTorch's own. */
class QwenTrainingTest {
  private static final Path MODEL = Reference.path("qwen-image-tiny-random/transformer");
  private static final int TEXT_TOKENS = 5;
  private static final int BATCH = 2;

  /** Of the second sample of a padded batch. */
  private static final int SHORT_TEXT = 3;

  /**
   * One linear of each kind: gradients then reach every part of the model. The last block's text is
   * not used any more.
   */
  private static final List<String> LINEARS =
      List.of(
          "img_in",
          "txt_in",
          "time_text_embed.timestep_embedder.linear_1",
          "transformer_blocks.0.img_mod.1",
          "transformer_blocks.0.txt_mod.1",
          "transformer_blocks.0.attn.to_q",
          "transformer_blocks.0.attn.add_k_proj",
          "transformer_blocks.0.attn.to_add_out",
          "transformer_blocks.0.txt_mlp.net.2",
          "transformer_blocks.1.attn.add_v_proj",
          "transformer_blocks.1.attn.to_out.0",
          "transformer_blocks.1.img_mlp.net.0.proj",
          "norm_out.linear",
          "proj_out");

  private static QwenTransformer open(Backend backend, boolean checkpointing) {
    assumeTrue(Files.isDirectory(MODEL), "no Qwen-Image in this reference folder");
    NativeRuntime.initialize();
    return QwenTransformer.openForTraining(MODEL, ScalarType.Float, backend, checkpointing);
  }

  private static <T> T of(Map<String, T> map, String name) {
    return Objects.requireNonNull(map.get(name), name);
  }

  /** Leaves with the same values in every model. */
  private static LoraAdapter adapter(QwenTransformer model) {
    torch.manual_seed(31);
    Map<String, LoraPair> pairs = new LinkedHashMap<>();
    for (String name : LINEARS) {
      LinearShape shape = of(model.linears(), name);
      Tensor down = torch.randn(3, shape.inFeatures()).mul(new Scalar(0.3));
      Tensor up = torch.randn(shape.outFeatures(), 3).mul(new Scalar(0.2));
      pairs.put(name, new LoraPair(leaf(model, down), leaf(model, up), 1.5));
    }
    return new LoraAdapter("adapter", pairs);
  }

  private static Tensor leaf(QwenTransformer model, Tensor values) {
    Tensor leaf = model.place(values).detach();
    leaf.set_requires_grad(true);
    return leaf;
  }

  private static @Nullable TextPadding padding(boolean padded) {
    return padded ? TextPadding.of(TEXT_TOKENS, SHORT_TEXT) : null;
  }

  private static Tensor loss(QwenTransformer model, AdapterMix mix, boolean padded) {
    QwenConfig config = model.config();
    PackedLatents size = new PackedLatents(config.latentChannels(), 4, 6);
    torch.manual_seed(21);
    Tensor velocity =
        model.forward(
            model.place(torch.randn(BATCH, size.tokens(), config.inChannels())),
            model.place(torch.randn(BATCH, TEXT_TOKENS, config.contextDim())),
            model.place(torch.rand(BATCH)),
            model.rope(TEXT_TOKENS, size),
            padding(padded),
            mix);
    Tensor target = model.place(torch.randn(BATCH, size.tokens(), config.inChannels()));
    return torch.mse_loss(velocity, target);
  }

  private static Map<String, Tensor> gradients(QwenTransformer model, boolean padded) {
    LoraAdapter adapter = adapter(model);
    Tensor loss = loss(model, AdapterMix.of(adapter), padded);
    loss.backward();
    Map<String, Tensor> gradients = new LinkedHashMap<>();
    gradients.put("loss", loss.detach());
    adapter
        .pairs()
        .forEach(
            (name, pair) -> {
              gradients.put(name + ".A", pair.down().grad());
              gradients.put(name + ".B", pair.up().grad());
            });
    return gradients;
  }

  static Stream<Arguments> cases() {
    return TestBackends.all().stream()
        .flatMap(
            backend ->
                Stream.of(true, false)
                    .flatMap(
                        checkpointing ->
                            Stream.of(true, false)
                                .map(padded -> Arguments.of(backend, checkpointing, padded))));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void gradientsAreLibTorchs(Backend backend, boolean checkpointing, boolean padded) {
    try (PointerScope scope = new PointerScope();
        QwenTransformer oracle = open(Backend.TORCH, false);
        QwenTransformer model = open(backend, checkpointing)) {
      Map<String, Tensor> expected = gradients(oracle, padded);
      Map<String, Tensor> actual = gradients(model, padded);
      assertEquals(expected.keySet(), actual.keySet());
      expected.forEach(
          (name, value) -> {
            double size = value.abs().max().item_double();
            assertTrue(size > 0, name);
            assertClose(name, value, of(actual, name), 1e-5 * size);
          });
    }
  }

  /** Bit for bit: the second run of a block is the first. */
  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void checkpointingChangesNoBit(Backend backend) {
    try (PointerScope scope = new PointerScope();
        QwenTransformer plain = open(backend, false);
        QwenTransformer checkpointing = open(backend, true)) {
      Map<String, Tensor> expected = gradients(plain, true);
      Map<String, Tensor> actual = gradients(checkpointing, true);
      expected.forEach((name, value) -> assertExact(name, value, of(actual, name)));
    }
  }

  /** In f32, so to some digits only; what matters is that no gradient is wrong alike in both. */
  @ParameterizedTest
  @CsvSource({"TORCH, true", "TORCH, false", "CPU, true"})
  void gradientsAreFiniteDifferences(Backend backend, boolean padded) {
    try (PointerScope scope = new PointerScope();
        QwenTransformer model = open(backend, true)) {
      LoraAdapter adapter = adapter(model);
      AdapterMix mix = AdapterMix.of(adapter);
      Tensor loss = loss(model, mix, padded);
      double size = loss.item_double();
      loss.backward();
      for (String name : LINEARS) {
        // Along the gradient the loss changes most, so that rounding matters least.
        Tensor matrix = of(adapter.pairs(), name).down();
        double norm = matrix.grad().norm().item_double();
        Tensor direction = matrix.grad().div(new Scalar(norm));
        double step = Math.min(1e-3 * size / norm, 0.01 * matrix.norm().item_double());
        double slope =
            (moved(model, mix, padded, matrix, direction, step)
                    - moved(model, mix, padded, matrix, direction, -step))
                / (2 * step);
        assertEquals(norm, slope, 0.01 * norm + 3e-6 * size / step, name);
      }
    }
  }

  private static double moved(
      QwenTransformer model,
      AdapterMix mix,
      boolean padded,
      Tensor matrix,
      Tensor direction,
      double step) {
    try (NoGradGuard noGrad = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Tensor before = matrix.clone();
      matrix.add_(direction, new Scalar(step));
      double loss = loss(model, mix, padded).item_double();
      matrix.copy_(before);
      return loss;
    }
  }
}
