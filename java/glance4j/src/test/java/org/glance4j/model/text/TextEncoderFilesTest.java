package org.glance4j.model.text;

import static org.glance4j.model.text.Refusal.assertRefused;
import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Encoder folders with other tensor names, other configurations, and damage. */
class TextEncoderFilesTest {
  private static final Path CLIP = Reference.path("flux-tiny-random/text_encoder");
  private static final Path T5 = Reference.path("flux-tiny-random/text_encoder_2");
  private static final UnaryOperator<String> SAME = UnaryOperator.identity();

  @TempDir private Path temporary;

  @BeforeAll
  static void needsTheModel() {
    assumeTrue(Files.isDirectory(CLIP));
  }

  @TestFactory
  List<DynamicTest> badComponents() {
    assumeTrue(Reference.manifest().has("bad"));
    List<DynamicTest> tests = new ArrayList<>();
    Reference.manifest()
        .path("bad")
        .fieldNames()
        .forEachRemaining(
            name -> {
              if (name.startsWith("bad/components/clip_")) {
                tests.add(dynamicTest(name, () -> checkComponent(Reference.path(name))));
              }
            });
    assertFalse(tests.isEmpty());
    return tests;
  }

  private static void checkComponent(Path folder) {
    if (folder.endsWith("clip_good")) {
      ClipTextEncoder.open(folder, ScalarType.Float).close();
      return;
    }
    String cause =
        folder.endsWith("clip_unexpected_tensor")
            ? "not part of this model"
            : folder.endsWith("clip_missing_tensor")
                ? "is missing"
                : folder.endsWith("clip_nan_weight") ? "NaN" : "has shape";
    assertRefused(
        ModelFormatException.class,
        () -> ClipTextEncoder.open(folder, ScalarType.Float).close(),
        folder.getFileName().toString(),
        cause);
  }

  @Test
  void clipNamesMayLackTheirPrefix() {
    int positions = SafetensorsEdit.config(CLIP).get("max_position_embeddings").asInt();
    ByteBuffer positionIds =
        ByteBuffer.allocate(positions * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (long i = 0; i < positions; i++) {
      positionIds.putLong(i);
    }
    Path renamed =
        new SafetensorsEdit(CLIP, name -> name.replace("text_model.", ""))
            .add("embeddings.position_ids", "I64", List.of(1, positions), positionIds.array())
            .write(temporary, SafetensorsEdit.config(CLIP));
    try (PointerScope scope = new PointerScope()) {
      Tensor ids = ids(2, 5);
      assertExact("pooled", clip(CLIP, ids).pooled(), clip(renamed, ids).pooled());
    }
  }

  @ParameterizedTest
  @CsvSource({"encoder.embed_tokens.weight, false", "encoder.embed_tokens.weight, true"})
  void t5EmbeddingHasTwoNames(String other, boolean both) {
    SafetensorsEdit edit =
        new SafetensorsEdit(T5, name -> name.equals("shared.weight") ? other : name);
    if (both) {
      edit = twice(other);
    }
    Path renamed = edit.write(temporary, SafetensorsEdit.config(T5));
    try (PointerScope scope = new PointerScope()) {
      Tensor ids = ids(1, 7);
      assertExact("output", t5(T5, ids), t5(renamed, ids));
    }
  }

  private static SafetensorsEdit twice(String other) {
    SafetensorsEdit edit = new SafetensorsEdit(T5, SAME);
    ObjectNode config = SafetensorsEdit.config(T5);
    int vocabulary = config.get("vocab_size").asInt();
    int width = config.get("d_model").asInt();
    byte[] values = new byte[vocabulary * width * Float.BYTES];
    return edit.add(other, "F32", List.of(vocabulary, width), values);
  }

  @ParameterizedTest
  @CsvSource({"relu, false", "gelu, false", "gated-silu, true", "gated-relu, true"})
  void t5FeedForwardOfEveryKind(String projection, boolean gated) {
    ObjectNode config = SafetensorsEdit.config(T5).put("feed_forward_proj", projection);
    UnaryOperator<String> plain =
        name -> name.contains(".wi_1.") ? "" : name.replace(".wi_0.", ".wi.");
    Path folder = new SafetensorsEdit(T5, gated ? SAME : plain).write(temporary, config);
    try (PointerScope scope = new PointerScope()) {
      Tensor output = t5(folder, ids(1, 9));
      assertTrue(output.isfinite().all().item_bool(), "finite");
      double difference = output.sub(t5(T5, ids(1, 9))).abs().max().item_double();
      assertTrue(difference > 1e-3, "another function gives another output");
    }
  }

  @Test
  void clipWithoutEndTokenPoolsTheFirstPosition() {
    ObjectNode config = SafetensorsEdit.config(CLIP);
    Path folder =
        new SafetensorsEdit(CLIP, SAME)
            .write(temporary, config.put("eos_token_id", config.get("vocab_size").asInt()));
    try (PointerScope scope = new PointerScope()) {
      ClipOutput output = clip(folder, ids(3, 6));
      assertExact("pooled", output.lastHidden().select(1, 0), output.pooled());
    }
  }

  @Test
  void clipPoolsTheFirstEndToken() {
    Path folder =
        new SafetensorsEdit(CLIP, SAME)
            .write(temporary, SafetensorsEdit.config(CLIP).put("eos_token_id", 7));
    try (PointerScope scope = new PointerScope()) {
      Tensor ids = torch.tensor(5, 6, 7, 7, 9, 7, 1, 2, 3, 4, 5, 7).view(2, 6);
      ClipOutput output = clip(folder, ids);
      assertExact("first", output.lastHidden().select(0, 0).select(0, 2), output.pooled().get(0));
      assertExact("second", output.lastHidden().select(0, 1).select(0, 5), output.pooled().get(1));
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "5 6 7 1 1 1 1 1",
        "7 6 5 4 3 2 1 0",
        "1 2 3 4 5 6 8 7",
        "1 2 3 4 5 6 8 9",
        "1 7 7 7, 1 2 3 7, 1 2 3 4",
      })
  void clipPoolsWithoutWhatFollowsTheLastEnd(String prompts) {
    Path folder =
        new SafetensorsEdit(CLIP, SAME)
            .write(temporary, SafetensorsEdit.config(CLIP).put("eos_token_id", 7));
    try (PointerScope scope = new PointerScope();
        ClipTextEncoder encoder = ClipTextEncoder.open(folder, ScalarType.Float)) {
      long[] flat = Stream.of(prompts.split("[, ]+")).mapToLong(Long::parseLong).toArray();
      Tensor ids = torch.tensor(flat).view(prompts.split(",").length, -1);
      assertClose(prompts, encoder.forward(ids).pooled(), encoder.pooled(ids), 1e-6);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "hidden_size, \"32\"",
    "hidden_size, 0",
    "num_attention_heads, 1000003",
    "num_hidden_layers, null",
    "hidden_act, \"tanh\"",
    "layer_norm_eps, -1",
    "eos_token_id, [1]",
    "model_type, \"bert\"",
  })
  void refusesBadClipConfigurations(String key, String value) throws Exception {
    refuseConfig(CLIP, key, value, folder -> ClipTextEncoder.open(folder, ScalarType.Float));
  }

  @ParameterizedTest
  @CsvSource({
    "d_model, -1",
    "d_kv, 1.5",
    "relative_attention_num_buckets, 6",
    "relative_attention_max_distance, 1",
    "layer_norm_epsilon, -1",
    "feed_forward_proj, \"gated-\"",
    "feed_forward_proj, \"maxout\"",
    "model_type, \"umt5\"",
  })
  void refusesBadT5Configurations(String key, String value) throws Exception {
    refuseConfig(T5, key, value, folder -> T5Encoder.open(folder, ScalarType.Float));
  }

  private interface Opener {
    AutoCloseable open(Path folder);
  }

  private void refuseConfig(Path good, String key, String value, Opener opener) throws Exception {
    ObjectNode config = SafetensorsEdit.config(good);
    config.set(key, new ObjectMapper().readTree(value));
    Path folder = new SafetensorsEdit(good, SAME).write(temporary, config);
    // A bucket count is told with the distance it does not fit.
    String named = key.equals("relative_attention_max_distance") ? key + " 1" : key;
    assertRefused(
        ModelFormatException.class, () -> opener.open(folder).close(), "config.json", named);
  }

  @Test
  void refusesIdsOfTheWrongShape() {
    try (PointerScope scope = new PointerScope();
        ClipTextEncoder clip = ClipTextEncoder.open(CLIP, ScalarType.Float);
        T5Encoder t5 = T5Encoder.open(T5, ScalarType.Float)) {
      int tooMany = clip.maxTokens() + 1;
      Tensor ids = ids(1, tooMany);
      String size = Integer.toString(tooMany);
      assertRefused(IllegalArgumentException.class, () -> clip.forward(ids), size);
      assertRefused(IllegalArgumentException.class, () -> clip.pooled(ids), size);
      assertRefused(IllegalArgumentException.class, () -> t5.forward(ids.view(-1)), size);
    }
  }

  @Test
  void closedEncodersRefuse() {
    ClipTextEncoder clip = ClipTextEncoder.open(CLIP, ScalarType.Float);
    T5Encoder t5 = T5Encoder.open(T5, ScalarType.Float);
    clip.close();
    clip.close();
    t5.close();
    t5.close();
    assertRefused(IllegalStateException.class, () -> clip.forward(ids(1, 2)), "closed");
    assertRefused(IllegalStateException.class, () -> clip.pooled(ids(1, 2)), "closed");
    assertRefused(IllegalStateException.class, () -> t5.forward(ids(1, 2)), "closed");
  }

  @Test
  void t5KeepsNothingOfAnotherLength() {
    try (PointerScope scope = new PointerScope();
        T5Encoder encoder = T5Encoder.open(T5, ScalarType.Float)) {
      Tensor first = encoder.forward(ids(1, 9));
      encoder.forward(ids(1, 4));
      assertExact("again", first, encoder.forward(ids(1, 9)));
    }
  }

  @TestFactory
  List<DynamicTest> activations() {
    List<DynamicTest> tests = new ArrayList<>();
    for (Activation activation : Activation.values()) {
      tests.add(
          dynamicTest(
              activation.name(),
              () -> {
                try (PointerScope scope = new PointerScope()) {
                  Tensor x = torch.linspace(new Scalar(-6), new Scalar(6), 101);
                  Tensor expected = formula(activation, x.to(ScalarType.Double));
                  assertClose(activation.name(), expected, activation.apply(x), 1e-6);
                }
              }));
    }
    return tests;
  }

  private static Tensor formula(Activation activation, Tensor x) {
    return switch (activation) {
      case QUICK_GELU -> x.div(x.mul(new Scalar(-1.702)).exp().add(new Scalar(1)));
      case SILU -> x.div(x.neg().exp().add(new Scalar(1)));
      case RELU -> x.add(x.abs()).div(new Scalar(2));
      case GELU ->
          x.mul(x.div(new Scalar(Math.sqrt(2))).erf().add(new Scalar(1))).div(new Scalar(2));
      case GELU_TANH -> {
        Tensor cubic = x.add(x.pow(new Scalar(3)).mul(new Scalar(0.044715)));
        Tensor tanh = cubic.mul(new Scalar(Math.sqrt(2 / Math.PI))).tanh();
        yield x.mul(tanh.add(new Scalar(1))).div(new Scalar(2));
      }
    };
  }

  private static ClipOutput clip(Path folder, Tensor ids) {
    try (ClipTextEncoder encoder = ClipTextEncoder.open(folder, ScalarType.Float)) {
      return encoder.forward(ids);
    }
  }

  private static Tensor t5(Path folder, Tensor ids) {
    try (T5Encoder encoder = T5Encoder.open(folder, ScalarType.Float)) {
      return encoder.forward(ids);
    }
  }

  /** Small ids, [prompts, tokens]. */
  private static Tensor ids(int prompts, int tokens) {
    return torch.arange(new Scalar(prompts * tokens)).to(ScalarType.Long).view(prompts, tokens);
  }
}
