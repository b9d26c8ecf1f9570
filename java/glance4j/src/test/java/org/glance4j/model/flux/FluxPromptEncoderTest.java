package org.glance4j.model.flux;

import static org.glance4j.model.text.Refusal.assertRefused;
import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.model.text.FolderCopies;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class FluxPromptEncoderTest {
  private static final double TOLERANCE = 1e-5;
  private static final Path MODEL = Reference.path("flux-tiny-random");
  private static final Path BUNDLED =
      Path.of("../glance4j-tiny/src/main/resources/org/glance4j/glance-tiny");
  private static final Pattern PROMPT = Pattern.compile("prompts\\[(\\d+)]");
  private static final Pattern REPEATS = Pattern.compile("num_images_per_prompt=(\\d+)");

  @BeforeAll
  static void needsTheModel() {
    assumeTrue(Files.isDirectory(MODEL));
  }

  @TestFactory
  List<DynamicTest> encodesAsDiffusers() {
    assumeTrue(Reference.hasGoldens("flux_text"));
    List<DynamicTest> tests = new ArrayList<>();
    try (Goldens goldens = Reference.goldens("flux_text")) {
      for (String name : goldens.names()) {
        if (name.endsWith(".embeds")) {
          String call = name.substring(0, name.length() - ".embeds".length());
          tests.add(dynamicTest(call, () -> checkCall(call)));
        }
      }
    }
    assertFalse(tests.isEmpty());
    return tests;
  }

  private static void checkCall(String name) {
    try (PointerScope scope = new PointerScope();
        Goldens goldens = Reference.goldens("flux_text");
        FluxPromptEncoder encoder = FluxPromptEncoder.open(MODEL, ScalarType.Float)) {
      String call = goldens.entry().at("/tensors/" + name + ".embeds/call").asText();
      List<String> all = Reference.strings(goldens.entry().path("prompts"));
      List<String> prompts = PROMPT.matcher(call).results().map(m -> all.get(number(m))).toList();
      Tensor embeds = goldens.get(name + ".embeds");
      int tokens = (int) embeds.size(1);
      PromptEmbedding actual =
          call.contains("prompt_2=")
              ? encoder.encode(prompts.get(0), prompts.get(1), tokens)
              : encoder.encode(prompts, tokens);
      Matcher repeats = REPEATS.matcher(call);
      long images = repeats.find() ? number(repeats.toMatchResult()) : 1;
      assertClose("embeds", embeds, repeat(actual.embeds(), images), TOLERANCE);
      assertClose(
          "pooled", goldens.get(name + ".pooled"), repeat(actual.pooled(), images), TOLERANCE);
    }
  }

  @TestFactory
  List<DynamicTest> encodesForTheBundledModel() {
    assumeTrue(Reference.path("glance-tiny/manifest.json").toFile().exists());
    JsonNode manifest = Reference.readJson("glance-tiny/manifest.json");
    Map<String, String> prompts = new LinkedHashMap<>();
    prompts.put("negative.safetensors", manifest.path("negative_prompt").asText());
    for (JsonNode run : manifest.path("cases")) {
      prompts.put(run.path("prompt_file").asText(), run.path("prompt").asText());
    }
    int tokens = manifest.path("max_sequence_length").asInt();
    List<DynamicTest> tests = new ArrayList<>();
    prompts.forEach(
        (file, prompt) ->
            tests.add(dynamicTest("\"" + prompt + "\"", () -> checkBundled(file, prompt, tokens))));
    return tests;
  }

  private static void checkBundled(String file, String prompt, int tokens) {
    try (PointerScope scope = new PointerScope();
        Goldens goldens = Goldens.open(Reference.path("glance-tiny/" + file));
        FluxPromptEncoder encoder = FluxPromptEncoder.open(BUNDLED, ScalarType.Float)) {
      PromptEmbedding actual = encoder.encode(prompt, null, tokens);
      assertClose("embeds", goldens.get("prompt_embeds"), actual.embeds(), TOLERANCE);
      assertClose("pooled", goldens.get("pooled_prompt_embeds"), actual.pooled(), TOLERANCE);
      assertEquals(tokens, encoder.maxTextTokens());
    }
  }

  @Test
  void oneBatchGivesWhatSinglePromptsGive() {
    List<String> prompts = List.of("a cat", "", "a much longer prompt about two cats");
    try (PointerScope scope = new PointerScope();
        FluxPromptEncoder encoder = FluxPromptEncoder.open(MODEL, ScalarType.Float)) {
      PromptEmbedding batch = encoder.encode(prompts, 24);
      for (int i = 0; i < prompts.size(); i++) {
        PromptEmbedding single = encoder.encode(prompts.get(i), null, 24);
        assertClose("embeds", single.embeds(), batch.embeds().narrow(0, i, 1), TOLERANCE);
        assertClose("pooled", single.pooled(), batch.pooled().narrow(0, i, 1), TOLERANCE);
        assertEquals(single.tokens().get(0), batch.tokens().get(i));
      }
    }
  }

  @Test
  void saysWhatItDoesNotRead() {
    try (PointerScope scope = new PointerScope();
        FluxPromptEncoder encoder = FluxPromptEncoder.open(MODEL, ScalarType.Float)) {
      assertNull(encoder.encode("a cat", null, 32).tokens().get(0).truncation());
      PromptTokens tokens = encoder.encode("cat ".repeat(200), "a cat", 32).tokens().get(0);
      assertTrue(tokens.clip() > tokens.clipLimit());
      assertTrue(tokens.t5() <= tokens.t5Limit());
      String message = tokens.truncation();
      assertNotNull(message);
      assertTrue(
          message.contains("CLIP reads " + tokens.clipLimit() + " of its " + tokens.clip()),
          message);
      assertFalse(message.contains("T5"), message);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, -1, 513, Integer.MAX_VALUE})
  void refusesOtherTextLengths(int tokens) {
    try (FluxPromptEncoder encoder = FluxPromptEncoder.open(MODEL, ScalarType.Float)) {
      assertRefused(
          IllegalArgumentException.class,
          () -> encoder.encode("cat", null, tokens),
          Integer.toString(tokens),
          "1 to 512");
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 512})
  void takesTheShortestAndTheLongestText(int tokens) {
    try (PointerScope scope = new PointerScope();
        FluxPromptEncoder encoder = FluxPromptEncoder.open(MODEL, ScalarType.Float)) {
      PromptEmbedding embedding = encoder.encode("a cat", null, tokens);
      assertEquals(tokens, embedding.embeds().size(1));
      assertEquals(encoder.textWidth(), embedding.embeds().size(2));
      assertEquals(encoder.pooledWidth(), embedding.pooled().size(1));
    }
  }

  @Test
  void refusesNoPrompt() {
    try (FluxPromptEncoder encoder = FluxPromptEncoder.open(MODEL, ScalarType.Float)) {
      assertRefused(
          IllegalArgumentException.class, () -> encoder.encode(List.of(), 8), "no prompt");
    }
  }

  @Test
  void refusesATokenizerOfAnotherModel(@TempDir Path temporary) throws IOException {
    for (String part : List.of("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2")) {
      copy(temporary, part, MODEL);
    }
    ObjectMapper json = new ObjectMapper();
    Path encoder = temporary.resolve("text_encoder/config.json");
    int embeddings = json.readTree(encoder.toFile()).get("vocab_size").asInt();
    File config = temporary.resolve("tokenizer/tokenizer_config.json").toFile();
    ObjectNode settings = (ObjectNode) json.readTree(config);
    ArrayNode added = settings.putArray("additional_special_tokens");
    IntStream.rangeClosed(1, embeddings).forEach(i -> added.add("<style " + i + ">"));
    json.writeValue(config, settings);

    String last = "<style " + embeddings + ">";
    try (FluxPromptEncoder flux = FluxPromptEncoder.open(temporary, ScalarType.Float)) {
      assertRefused(ModelFormatException.class, () -> flux.encode(last, "", 8), "CLIP tokenizer");
    }
  }

  @Test
  void refusesAFolderWithAPartMissing(@TempDir Path temporary) {
    copy(temporary, "tokenizer", MODEL);
    copy(temporary, "tokenizer_2", MODEL);
    copy(temporary, "text_encoder", MODEL);
    assertRefused(
        ModelFormatException.class,
        () -> FluxPromptEncoder.open(temporary, ScalarType.Float),
        "text_encoder_2");
  }

  @Test
  void closedEncoderRefuses() {
    FluxPromptEncoder encoder = FluxPromptEncoder.open(MODEL, ScalarType.Float);
    encoder.close();
    encoder.close();
    assertRefused(IllegalStateException.class, () -> encoder.encode("a cat", null, 8), "closed");
  }

  @Test
  void sameInputGivesTheSameBits() {
    try (PointerScope scope = new PointerScope();
        FluxPromptEncoder encoder = FluxPromptEncoder.open(MODEL, ScalarType.Float)) {
      PromptEmbedding first = encoder.encode("a cat", null, 16);
      PromptEmbedding second = encoder.encode("a cat", null, 16);
      assertExact("embeds", first.embeds(), second.embeds());
      assertExact("pooled", first.pooled(), second.pooled());
    }
  }

  private static void copy(Path folder, String part, Path model) {
    FolderCopies.copyWithout(model.resolve(part), folder.resolve(part), List.of());
  }

  private static int number(MatchResult match) {
    return Integer.parseInt(match.group(1));
  }

  private static Tensor repeat(Tensor rows, long times) {
    return rows.repeat_interleave(times, new LongOptional(0), new LongOptional());
  }
}
