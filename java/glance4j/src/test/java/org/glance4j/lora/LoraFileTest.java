package org.glance4j.lora;

import static org.glance4j.reference.ErrorAssert.assertError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class LoraFileTest {
  private static final String Q = "transformer_blocks.0.attn.to_q";
  private static final String K = "transformer_blocks.0.attn.to_k";
  private static final String V = "transformer_blocks.0.attn.to_v";

  /** A made-up model small enough to write its adapters by hand. */
  private static final Map<String, LinearShape> LINEARS =
      Map.of(
          "context_embedder",
          new LinearShape(2, 2),
          "norm_out.linear",
          new LinearShape(2, 4),
          Q,
          new LinearShape(2, 3),
          K,
          new LinearShape(2, 2),
          V,
          new LinearShape(2, 1));

  @TempDir Path folder;

  private LoraAdapter load(TestFile file) {
    return LoraFile.load(write(file), ScalarType.Float, LINEARS);
  }

  private Path write(TestFile file) {
    return file.write(folder.resolve("adapter.safetensors"));
  }

  private void assertRefused(TestFile file, String... parts) {
    assertError(ModelFormatException.class, () -> load(file).close(), parts);
  }

  private static TestFile toQ() {
    return pair(Q, ".lora_A.weight", ".lora_B.weight");
  }

  private static TestFile pair(String name, String down, String up) {
    return new TestFile()
        .matrix(name + down, 2, 2, 1, 2, 3, 4)
        .matrix(name + up, 3, 2, 5, 6, 7, 8, 9, 10);
  }

  private static float[] values(Tensor tensor) {
    float[] values = new float[(int) tensor.numel()];
    tensor.data_ptr_float().get(values);
    return values;
  }

  private static LoraPair pair(LoraAdapter adapter, String linear) {
    LoraPair pair = adapter.pair(linear);
    if (pair == null) {
      throw new AssertionError(linear + " is not in " + adapter.pairs().keySet());
    }
    return pair;
  }

  @ParameterizedTest
  @CsvSource({
    "transformer., .lora_A.weight, .lora_B.weight",
    "'', .lora_A.weight, .lora_B.weight",
    "'', .lora.down.weight, .lora.up.weight",
    "transformer., .lora.down.weight, .lora.up.weight",
    "transformer., .lora_linear_layer.down.weight, .lora_linear_layer.up.weight",
    "diffusion_model., .lora_down.weight, .lora_up.weight",
    "diffusion_model., .lora_A.weight, .lora_B.weight",
    "base_model.model., .lora_A.default.weight, .lora_B.default.weight",
    "transformer., .lora.down.weight, .lora_B.weight",
    "lora_unet_, .lora_down.weight, .lora_up.weight",
    "lora_transformer_, .lora_down.weight, .lora_up.weight",
    "lora_unet_, .lora_A.weight, .lora_B.weight"
  })
  void understandsEveryNaming(String prefix, String down, String up) {
    String name = prefix + (prefix.startsWith("lora_") ? Q.replace('.', '_') : Q);
    try (LoraAdapter adapter = load(pair(name, down, up))) {
      assertEquals(Set.of(Q), adapter.pairs().keySet());
      assertArrayEquals(new float[] {1, 2, 3, 4}, values(pair(adapter, Q).down()));
      assertArrayEquals(new float[] {5, 6, 7, 8, 9, 10}, values(pair(adapter, Q).up()));
      assertEquals(1, pair(adapter, Q).scale());
    }
  }

  /** Every linear of a FLUX model has an original name, alone or in a stack. */
  @Test
  void originalFluxNamesCoverTheModel() {
    Map<String, LoraTarget> names = new HashMap<>();
    Set<String> linears = Linears.of("flux").keySet();
    FluxNames.addTo(names, linears);
    Set<String> covered = new TreeSet<>();
    names.values().forEach(target -> covered.addAll(target.linears()));
    assertEquals(linears, covered);
    int stacked = names.values().stream().mapToInt(target -> target.linears().size()).sum();
    assertEquals(linears.size(), stacked, "a linear has two names");
  }

  @Test
  void otherModelsHaveNoFluxNames() {
    Map<String, LinearShape> qwen = Map.of(Q, LINEARS.get(Q), K, LINEARS.get(K), V, LINEARS.get(V));
    LoraNames names = new LoraNames(qwen.keySet());
    assertNull(names.find("diffusion_model.double_blocks.0.img_attn.qkv"));
    assertEquals(LoraTarget.of(Q), names.find("diffusion_model." + Q));
  }

  @Test
  void denseStackSharesTheDownMatrix() {
    TestFile file =
        new TestFile()
            .matrix("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", 2, 2, 1, 2, 3, 4)
            .matrix("lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight", 6, 2, 5, 6, 7, 8)
            .alpha("lora_unet_double_blocks_0_img_attn_qkv.alpha", 3);
    LoraAdapter adapter = load(file);
    try (adapter) {
      assertArrayEquals(new float[] {5, 6, 7, 8, 5, 6}, values(pair(adapter, Q).up()));
      assertArrayEquals(new float[] {7, 8, 5, 6}, values(pair(adapter, K).up()));
      assertArrayEquals(new float[] {7, 8}, values(pair(adapter, V).up()));
      assertEquals(1.5, pair(adapter, V).scale());
      long address = pair(adapter, Q).down().data_ptr().address();
      assertEquals(address, pair(adapter, K).down().data_ptr().address());
      assertEquals(address, pair(adapter, V).down().data_ptr().address());
    }
    adapter.close();
  }

  @Test
  void blockDiagonalStackKeepsItsOwnRanks() {
    String qkv = "diffusion_model.double_blocks.0.img_attn.qkv";
    TestFile file =
        new TestFile()
            .matrix(qkv + ".lora_down.weight", 3, 2, 1, 2, 3, 4, 5, 6)
            .matrix(
                qkv + ".lora_up.weight",
                6,
                3,
                new float[] {0, 1, 0, 0, 2, 0, 0, 3, 0, 4, 0, 0, 5, 0, 6, 0, 0, 0})
            .alpha(qkv + ".alpha", 6);
    try (LoraAdapter adapter = load(file)) {
      assertEquals(Set.of(Q, K), adapter.pairs().keySet(), "to_v's rows are all zero");
      assertArrayEquals(new float[] {3, 4}, values(pair(adapter, Q).down()));
      assertArrayEquals(new float[] {1, 2, 3}, values(pair(adapter, Q).up()));
      assertEquals(2, pair(adapter, Q).scale(), "alpha by the rank of the whole stack");
      assertEquals(3, pair(adapter, K).rank());
    }
  }

  @Test
  void finalModulationIsSwapped() {
    String name = "lora_unet_final_layer_adaLN_modulation_1";
    TestFile file =
        new TestFile()
            .matrix(name + ".lora_down.weight", 1, 2, 1, 2)
            .matrix(name + ".lora_up.weight", 4, 1, 1, 2, 3, 4);
    try (LoraAdapter adapter = load(file)) {
      assertArrayEquals(new float[] {3, 4, 1, 2}, values(pair(adapter, "norm_out.linear").up()));
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{} | 0.5",
        "{'transformer.r': 2} | 0.5",
        "{'transformer.r': 2, 'transformer.lora_alpha': 8} | 4",
        "{'transformer.lora_alpha': 3.0, 'transformer.no_such_field': [1]} | 1.5",
        "{'transformer.lora_alpha': 8, 'transformer.use_rslora': true} | 5.65685424949238",
        "{'transformer.lora_alpha': 8, 'transformer.alpha_pattern': {'attn.to_q': 2}} | 1",
        "{'transformer.lora_alpha': null, 'text_encoder.lora_alpha': 9} | 0.5",
        "{'transformer.r': 4, 'transformer.lora_alpha': 8,"
            + " 'transformer.rank_pattern': {'transformer_blocks.0.attn.to_q': 2}} | 4"
      })
  void metadataGivesTheScale(String json, double scale) {
    Path file = write(toQ().metadata("lora_adapter_metadata", json.replace('\'', '"')));
    try (LoraAdapter adapter = LoraFile.load(file, ScalarType.Float, LINEARS, 0.5)) {
      assertEquals(scale, pair(adapter, Q).scale(), 1e-12);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "[] | is not a JSON object",
        "{'transformer.r' | is not valid JSON",
        "'' | is not a JSON object",
        "{'transformer.r': 4, 'transformer.lora_alpha': 8} | has rank 2",
        "{'transformer.lora_alpha': '8'} | transformer.lora_alpha",
        "{'transformer.lora_alpha': NaN} | is not valid JSON",
        "{'transformer.lora_alpha': -1} | transformer.lora_alpha is -1",
        "{'transformer.alpha_pattern': {'to_k': 2}} | names \"to_k\"",
      })
  void brokenMetadataIsRefused(String json, String reason) {
    TestFile file = toQ().metadata("lora_adapter_metadata", json.replace('\'', '"'));
    assertRefused(file, "adapter.safetensors", reason);
  }

  @Test
  void alphaTensorsComeBeforeMetadata() {
    TestFile file =
        toQ()
            .alpha(Q + ".alpha", 6)
            .metadata("lora_adapter_metadata", "{\"transformer.lora_alpha\": 8}");
    try (LoraAdapter adapter = load(file)) {
      assertEquals(3, pair(adapter, Q).scale());
    }
  }

  @ParameterizedTest
  @ValueSource(floats = {0, -4, Float.NaN, Float.POSITIVE_INFINITY})
  void brokenAlphasAreRefused(float alpha) {
    assertRefused(toQ().alpha(Q + ".alpha", alpha), Q + ".alpha", "above 0");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "transformer_blocks.0.attn.to_q.dora_scale",
        "transformer_blocks.0.attn.to_q.lora_magnitude_vector.weight",
        "transformer_blocks.0.attn.to_q.diff_b",
        "transformer_blocks.0.attn.to_q.lora_mid.weight"
      })
  void tensorsItCannotUseAreRefused(String name) {
    assertRefused(toQ().matrix(name, 1, 1, 1), name, "no LoRA pair or alpha");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
        "text_encoder_2.encoder.block.0.layer.0.SelfAttention.q",
        "lora_te1_text_model_encoder_layers_0_mlp_fc1"
      })
  void textEncoderAdaptersAreRefused(String name) {
    TestFile file =
        toQ().matrix(name + ".lora_A.weight", 1, 1, 1).matrix(name + ".lora_B.weight", 1, 1, 1);
    assertRefused(file, name, "text encoder");
  }

  @Test
  void twoPairsForOneLinearAreRefused() {
    String other = "transformer." + Q;
    TestFile file =
        toQ().matrix(other + ".lora_A.weight", 2, 2, 1).matrix(other + ".lora_B.weight", 3, 2, 1);
    assertRefused(file, "are both for the linear " + Q);
    TestFile sameMatrix = toQ().matrix(Q + ".lora.down.weight", 2, 2, 1);
    assertRefused(sameMatrix, "is the same matrix as");
  }

  @Test
  void alphaAloneIsRefused() {
    assertRefused(new TestFile().alpha(Q + ".alpha", 1), Q, "no down matrix");
  }

  @Test
  void integerMatricesAreRefused() {
    TestFile file =
        new TestFile().integers(Q + ".lora_A.weight", 2, 2).matrix(Q + ".lora_B.weight", 3, 2, 1);
    assertRefused(file, Q + ".lora_A.weight", "type");
  }

  @Test
  void numbersTooLargeForTheTypeAreRefused() {
    TestFile file =
        new TestFile()
            .matrix(Q + ".lora_A.weight", 2, 2, 1e6f)
            .matrix(Q + ".lora_B.weight", 3, 2, 1);
    load(file).close();
    assertError(
        ModelFormatException.class,
        () -> LoraFile.load(write(file), ScalarType.Half, LINEARS).close(),
        Q + ".lora_A.weight",
        "too large for Half");
  }

  @Test
  void emptyAndForeignFilesAreRefused() {
    assertRefused(new TestFile(), "holds no LoRA tensors");
    assertThrows(
        ModelFormatException.class,
        () -> LoraFile.load(folder.resolve("missing"), ScalarType.Float, LINEARS));
    assertThrows(
        IllegalArgumentException.class,
        () -> LoraFile.load(write(toQ()), ScalarType.Float, LINEARS, Double.NaN));
  }

  @Test
  void longListsOfNamesAreCut() {
    TestFile file = toQ();
    for (int i = 0; i < 25; i++) {
      file.matrix("stranger." + i, 1, 1, 1);
    }
    assertRefused(file, "stranger.0, ", "stranger.19 and 5 more");
  }

  @Test
  void theAdapterOutlivesItsFile() {
    Path file = write(toQ());
    try (LoraAdapter adapter = LoraFile.load(file, ScalarType.Float, LINEARS)) {
      assertTrue(file.toFile().delete());
      assertArrayEquals(new float[] {1, 2, 3, 4}, values(pair(adapter, Q).down()));
      assertEquals("adapter.safetensors", adapter.name());
    }
  }
}
