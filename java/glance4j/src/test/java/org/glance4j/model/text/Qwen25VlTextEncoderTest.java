package org.glance4j.model.text;

import static org.glance4j.model.text.Refusal.assertRefused;
import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.TestBackends;
import org.glance4j.model.TestFolders;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Qwen2.5-VL's text model against the reference's values, and its folders. */
class Qwen25VlTextEncoderTest {
  private static final double TOLERANCE = 1e-5;
  private static final double BF16_TOLERANCE = 3e-2;
  private static final Path QWEN = Reference.path("qwen-image-tiny-random/text_encoder");
  private static final UnaryOperator<String> SAME = UnaryOperator.identity();
  private static final Pattern HIDDEN = Pattern.compile("te_hidden_(\\d+)\\.prompt(\\d+)");

  @TempDir private Path temporary;

  /** The same with weights that are converted. */
  private static Path converted = QWEN;

  @BeforeAll
  static void needsTheModel(@TempDir Path folder) {
    assumeTrue(Files.isDirectory(QWEN));
    converted = TestFolders.widen(TestFolders.copy(QWEN, folder));
  }

  @TestFactory
  List<DynamicTest> hiddenStates() {
    return tests(
        (goldens, name, layer, prompt) -> {
          for (Path folder : List.of(QWEN, converted)) {
            for (Backend backend : TestBackends.all()) {
              List<Tensor> hidden = new ArrayList<>();
              try (Qwen25VlTextEncoder encoder =
                  Qwen25VlTextEncoder.open(folder, ScalarType.Float, backend)) {
                encoder.forward(referenceIds(goldens, prompt), x -> hidden.add(x.clone()));
              }
              String what = "%s of %s on %s".formatted(name, folder, backend);
              assertClose(what, goldens.get(name), hidden.get(layer), TOLERANCE);
            }
          }
        });
  }

  @TestFactory
  List<DynamicTest> bfloat16() {
    return tests(
        (goldens, name, layer, prompt) -> {
          List<Tensor> hidden = new ArrayList<>();
          try (Qwen25VlTextEncoder encoder =
              Qwen25VlTextEncoder.open(QWEN, ScalarType.BFloat16, Backend.CPU)) {
            Tensor output =
                encoder.forward(referenceIds(goldens, prompt), x -> hidden.add(x.clone()));
            assertEquals(ScalarType.BFloat16, output.scalar_type().intern());
          }
          Tensor expected = goldens.get(name);
          double error =
              hidden.get(layer).to(ScalarType.Float).sub(expected).norm().item_double()
                  / expected.norm().item_double();
          assertTrue(error < BF16_TOLERANCE, name + ": relative error " + error);
        });
  }

  private interface Check {
    void run(Goldens goldens, String name, int layer, int prompt);
  }

  private static List<DynamicTest> tests(Check check) {
    assumeTrue(Reference.hasGoldens("qwen_text"));
    List<DynamicTest> tests = new ArrayList<>();
    try (Goldens goldens = Reference.goldens("qwen_text")) {
      for (String name : goldens.names()) {
        if (HIDDEN.matcher(name).matches()) {
          tests.add(dynamicTest(name, () -> run(check, name)));
        }
      }
    }
    assertFalse(tests.isEmpty());
    return tests;
  }

  private static void run(Check check, String name) {
    Matcher hidden = HIDDEN.matcher(name);
    assertTrue(hidden.matches());
    try (PointerScope scope = new PointerScope();
        Goldens goldens = Reference.goldens("qwen_text")) {
      int layer = Integer.parseInt(hidden.group(1));
      check.run(goldens, name, layer, Integer.parseInt(hidden.group(2)));
    }
  }

  private static Tensor referenceIds(Goldens goldens, int prompt) {
    Tensor lengths = goldens.get("input_lengths");
    long from = lengths.narrow(0, 0, prompt).sum().item_long();
    long length = lengths.select(0, prompt).item_long();
    return goldens.get("input_ids_flat").narrow(0, from, length).unsqueeze(0);
  }

  @Test
  void whatIsBehindAPromptDoesNotChangeIt() {
    try (PointerScope scope = new PointerScope()) {
      Tensor single = ids(1, 9);
      Tensor padded = torch.cat(new TensorVector(single, ids(1, 5)), 1);
      Tensor batch = torch.cat(new TensorVector(padded, ids(1, 14)), 0);
      Tensor first = forward(QWEN, batch).narrow(0, 0, 1).narrow(1, 0, 9);
      assertClose("first prompt", forward(QWEN, single), first, TOLERANCE);
    }
  }

  @Test
  void tensorsMayHaveTheirNewerNames() {
    UnaryOperator<String> newer =
        name ->
            name.startsWith("model.")
                ? name.replaceFirst("model\\.", "model.language_model.")
                : name.replaceFirst("^visual\\.", "model.visual.");
    Path renamed = new SafetensorsEdit(QWEN, newer).write(temporary, SafetensorsEdit.config(QWEN));
    assertSameOutput(renamed);
  }

  @Test
  void neitherPictureEncoderNorWordLayerIsNeeded() {
    UnaryOperator<String> textOnly = name -> name.startsWith("model.") ? name : "";
    assertSameOutput(
        new SafetensorsEdit(QWEN, textOnly).write(temporary, SafetensorsEdit.config(QWEN)));
  }

  @Test
  void theConfigurationMayBeFlat() {
    ObjectNode config = SafetensorsEdit.config(QWEN);
    ObjectNode flat = (ObjectNode) config.remove("text_config");
    flat.setAll(config);
    assertSameOutput(new SafetensorsEdit(QWEN, SAME).write(temporary, flat));
  }

  @Test
  void theConfigurationMayHaveRopeParameters() {
    ObjectNode config = SafetensorsEdit.config(QWEN);
    ObjectNode text = text(config);
    ObjectNode rope = (ObjectNode) text.remove("rope_scaling");
    rope.set("rope_theta", text.remove("rope_theta"));
    text.set("rope_parameters", rope);
    assertSameOutput(new SafetensorsEdit(QWEN, SAME).write(temporary, config));
    rope.put("rope_theta", 100);
    Path other = new SafetensorsEdit(QWEN, SAME).write(temporary, config);
    try (PointerScope scope = new PointerScope()) {
      Tensor difference = forward(QWEN, ids(1, 11)).sub(forward(other, ids(1, 11)));
      assertTrue(difference.abs().max().item_double() > 1e-4, "another base, another output");
    }
  }

  @Test
  void theKindOfRopeMayBeMultimodal() {
    ObjectNode config = SafetensorsEdit.config(QWEN);
    ((ObjectNode) text(config).get("rope_scaling")).put("type", "mrope").put("rope_type", "mrope");
    assertSameOutput(new SafetensorsEdit(QWEN, SAME).write(temporary, config));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "hidden_size | \"48\"",
        "num_attention_heads | 1000003",
        "num_key_value_heads | 2",
        "num_hidden_layers | null",
        "hidden_act | \"tanh\"",
        "rms_norm_eps | -1",
        "rope_theta | 0",
        "rope_scaling.type | {\"type\": \"yarn\"}",
        "rope_scaling.mrope_section | {\"mrope_section\": [1, 1, 1]}",
        "rope_parameters.rope_type | {\"rope_type\": \"linear\"}",
        "use_sliding_window | true",
        "layer_types | [\"full_attention\", \"sliding_attention\"]",
        "model_type | \"qwen3_vl_text\"",
      })
  void refusesBadConfigurations(String key, String value) throws IOException {
    ObjectNode config = SafetensorsEdit.config(QWEN);
    ObjectNode text = text(config);
    // A base of 0 is not read from where another one stands beside it.
    text.remove(key.equals("rope_theta") ? List.of("rope_scaling") : List.of());
    text.set(key.split("\\.", 2)[0], new ObjectMapper().readTree(value));
    refuse(new SafetensorsEdit(QWEN, SAME).write(temporary, config), "config.json", key);
  }

  @Test
  void refusesAnotherModelsConfiguration() {
    ObjectNode config = SafetensorsEdit.config(QWEN).put("model_type", "qwen2_vl");
    refuse(new SafetensorsEdit(QWEN, SAME).write(temporary, config), "qwen2_vl", "qwen2_5_vl");
  }

  @Test
  void refusesTensorsThatDoNotFit() {
    ObjectNode config = SafetensorsEdit.config(QWEN);
    String bias = "model.layers.0.self_attn.k_proj.bias";
    UnaryOperator<String> without = name -> name.equals(bias) ? "" : name;
    refuse(new SafetensorsEdit(QWEN, without).write(temporary, config), bias, "is missing");

    UnaryOperator<String> more =
        name -> name.equals("lm_head.weight") ? "model.layers.0.extra" : name;
    refuse(
        new SafetensorsEdit(QWEN, more).write(temporary, config),
        "model.layers.0.extra",
        "not part of this model");

    text(config).put("intermediate_size", 1 + text(config).get("intermediate_size").asInt());
    refuse(
        new SafetensorsEdit(QWEN, SAME).write(temporary, config),
        "model.layers.0.mlp.gate_proj.weight",
        "has shape");
  }

  @Test
  void refusesIdsOfTheWrongShapeAndUseAfterClose() {
    Qwen25VlTextEncoder encoder = Qwen25VlTextEncoder.open(QWEN, ScalarType.Float);
    assertRefused(IllegalArgumentException.class, () -> encoder.forward(ids(1, 7).view(-1)), "7");
    encoder.close();
    encoder.close();
    assertRefused(IllegalStateException.class, () -> encoder.forward(ids(1, 2)), "closed");
  }

  private static void refuse(Path folder, String... parts) {
    assertRefused(
        ModelFormatException.class,
        () -> Qwen25VlTextEncoder.open(folder, ScalarType.Float).close(),
        parts);
  }

  private static void assertSameOutput(Path folder) {
    try (PointerScope scope = new PointerScope()) {
      assertExact("output", forward(QWEN, ids(2, 11)), forward(folder, ids(2, 11)));
    }
  }

  private static ObjectNode text(ObjectNode config) {
    return (ObjectNode) config.get("text_config");
  }

  private static Tensor forward(Path folder, Tensor ids) {
    try (Qwen25VlTextEncoder encoder = Qwen25VlTextEncoder.open(folder, ScalarType.Float)) {
      return encoder.forward(ids);
    }
  }

  /** Small ids, [prompts, tokens]. */
  private static Tensor ids(int prompts, int tokens) {
    return torch.arange(new Scalar(prompts * tokens)).to(ScalarType.Long).view(prompts, tokens);
  }
}
