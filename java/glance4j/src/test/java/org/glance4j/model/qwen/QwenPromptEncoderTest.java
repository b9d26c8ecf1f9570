package org.glance4j.model.qwen;

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

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
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

class QwenPromptEncoderTest {
  private static final double TOLERANCE = 1e-5;
  private static final double BF16_TOLERANCE = 3e-2;
  private static final Path MODEL = Reference.path("qwen-image-tiny-random");
  private static final String EMBEDS = "embeds.";
  private static final Pattern PROMPT = Pattern.compile("prompts\\[(\\d+)]");
  private static final Pattern LIMIT = Pattern.compile("max_sequence_length=(\\d+)");
  private static final Pattern LAST = Pattern.compile("\\[:,-(\\d+):]");

  @BeforeAll
  static void needsTheModel() {
    assumeTrue(Files.isDirectory(MODEL));
  }

  @TestFactory
  List<DynamicTest> encodesAsDiffusers() {
    return referenceCalls(ScalarType.Float);
  }

  @TestFactory
  List<DynamicTest> encodesInBfloat16() {
    return referenceCalls(ScalarType.BFloat16);
  }

  private static List<DynamicTest> referenceCalls(ScalarType dtype) {
    assumeTrue(Reference.hasGoldens("qwen_text"));
    List<DynamicTest> tests = new ArrayList<>();
    try (Goldens goldens = Reference.goldens("qwen_text")) {
      for (String name : goldens.names()) {
        if (name.startsWith(EMBEDS)) {
          tests.add(dynamicTest(name, () -> checkCall(name, dtype)));
        }
      }
    }
    assertFalse(tests.isEmpty());
    return tests;
  }

  private static void checkCall(String name, ScalarType dtype) {
    try (PointerScope scope = new PointerScope();
        Goldens goldens = Reference.goldens("qwen_text");
        QwenPromptEncoder encoder = QwenPromptEncoder.open(MODEL, dtype)) {
      String call = goldens.entry().at("/tensors/" + name + "/call").asText();
      Matcher limit = LIMIT.matcher(call);
      int tokens = limit.find() ? number(limit) : QwenPromptEncoder.MAX_TEXT_TOKENS;
      PromptEmbedding actual = encoder.encode(prompts(goldens, call), tokens);
      assertEquals(dtype, actual.embeds().scalar_type().intern());

      Tensor expected = goldens.get(name);
      Matcher last = LAST.matcher(call);
      long rows = last.find() ? number(last) : expected.size(1);
      Tensor embeds = actual.embeds().narrow(1, actual.embeds().size(1) - rows, rows);
      if (dtype == ScalarType.Float) {
        assertClose(name, expected, embeds, TOLERANCE);
      } else {
        double error = embeds.to(ScalarType.Float).sub(expected).norm().item_double();
        double relative = error / expected.norm().item_double();
        assertTrue(relative < BF16_TOLERANCE, name + ": relative error " + relative);
      }
      checkMask(goldens, name.replace(EMBEDS, "mask."), call, actual);
    }
  }

  private static void checkMask(
      Goldens goldens, String name, String call, PromptEmbedding embedding) {
    if (goldens.has(name)) {
      assertExact(name, goldens.get(name), embedding.mask());
    } else {
      assertTrue(embedding.isFull(), "no mask: " + call);
      assertTrue(embedding.mask().all().item_bool());
    }
  }

  /** The prompts of a call in the manifest, which writes the longest one as words. */
  private static List<String> prompts(Goldens goldens, String call) {
    List<String> all = Reference.strings(goldens.entry().path("prompts"));
    List<String> named =
        PROMPT.matcher(call).results().map(m -> all.get(Integer.parseInt(m.group(1)))).toList();
    if (!named.isEmpty()) {
      return named;
    }
    String negative = goldens.entry().path("negative_prompt").asText();
    return call.contains("'" + negative + "'")
        ? List.of(negative)
        : List.of(all.stream().max(Comparator.comparingInt(String::length)).orElseThrow());
  }

  @Test
  void oneBatchGivesWhatSinglePromptsGive() {
    List<String> prompts = List.of("a cat", "", "a much longer prompt about two cats");
    try (PointerScope scope = new PointerScope();
        QwenPromptEncoder encoder = QwenPromptEncoder.open(MODEL, ScalarType.Float)) {
      PromptEmbedding batch = encoder.encode(prompts, 12);
      assertFalse(batch.isFull());
      for (int i = 0; i < prompts.size(); i++) {
        PromptEmbedding single = encoder.encode(List.of(prompts.get(i)), 12);
        int kept = single.tokens().get(0).kept();
        Tensor row = batch.embeds().narrow(0, i, 1);
        assertClose("embeds", single.embeds(), row.narrow(1, 0, kept), TOLERANCE);
        assertFalse(row.narrow(1, kept, row.size(1) - kept).any().item_bool(), "zeros behind");
        assertEquals(kept, batch.mask().select(0, i).sum().item_long());
        assertEquals(single.tokens().get(0), batch.tokens().get(i));
      }
    }
  }

  @Test
  void cuttingAPromptOnlyCutsItsVectors() {
    String prompt = "a much longer prompt about two cats";
    try (PointerScope scope = new PointerScope();
        QwenPromptEncoder encoder = QwenPromptEncoder.open(MODEL, ScalarType.Float)) {
      Tensor whole = encoder.encode(List.of(prompt), 1024).embeds();
      Tensor cut = encoder.encode(List.of(prompt), 7).embeds();
      assertClose("first seven", whole.narrow(1, 0, 7), cut, TOLERANCE);
    }
  }

  @Test
  void saysWhatItDoesNotRead() {
    try (PointerScope scope = new PointerScope();
        QwenPromptEncoder encoder = QwenPromptEncoder.open(MODEL, ScalarType.Float)) {
      List<String> prompts = List.of("a cat", "cat ".repeat(2000));
      List<PromptTokens> tokens = encoder.encode(prompts, 512).tokens();
      assertNull(tokens.get(0).truncation());
      assertEquals(512, tokens.get(1).kept());
      String message = tokens.get(1).truncation();
      assertNotNull(message);
      assertTrue(message.contains("512 of its " + tokens.get(1).total()), message);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, -1, 1025, Integer.MAX_VALUE})
  void refusesOtherTextLengths(int tokens) {
    try (QwenPromptEncoder encoder = QwenPromptEncoder.open(MODEL, ScalarType.Float)) {
      assertRefused(
          IllegalArgumentException.class,
          () -> encoder.encode(List.of("cat"), tokens),
          Integer.toString(tokens),
          "1 to 1024");
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 512, 1024})
  void keepsNoMoreThanItIsAskedFor(int tokens) {
    try (PointerScope scope = new PointerScope();
        QwenPromptEncoder encoder = QwenPromptEncoder.open(MODEL, ScalarType.Float)) {
      PromptEmbedding embedding = encoder.encode(List.of("cat ".repeat(2000)), tokens);
      assertEquals(tokens, embedding.embeds().size(1));
      assertEquals(encoder.textWidth(), embedding.embeds().size(2));
    }
  }

  @Test
  void refusesNoPrompt() {
    try (QwenPromptEncoder encoder = QwenPromptEncoder.open(MODEL, ScalarType.Float)) {
      assertRefused(
          IllegalArgumentException.class, () -> encoder.encode(List.of(), 8), "no prompt");
    }
  }

  @Test
  void refusesATokenizerOfAnotherModel(@TempDir Path temporary) throws IOException {
    copy(temporary, "tokenizer");
    copy(temporary, "text_encoder");
    ObjectMapper json = new ObjectMapper();
    File config = temporary.resolve("tokenizer/tokenizer_config.json").toFile();
    ObjectNode settings = (ObjectNode) json.readTree(config);
    int embeddings =
        json.readTree(temporary.resolve("text_encoder/config.json").toFile())
            .at("/text_config/vocab_size")
            .asInt();
    ArrayNode added = settings.putArray("additional_special_tokens");
    IntStream.rangeClosed(1, embeddings).forEach(i -> added.add("<style " + i + ">"));
    json.writeValue(config, settings);

    String last = "<style " + embeddings + ">";
    try (QwenPromptEncoder encoder = QwenPromptEncoder.open(temporary, ScalarType.Float)) {
      assertRefused(
          ModelFormatException.class,
          () -> encoder.encode(List.of(last), 8),
          "Qwen2.5-VL tokenizer");
    }
  }

  @Test
  void refusesATokenizerWithoutTheTemplatesTokens(@TempDir Path temporary) throws IOException {
    copy(temporary, "tokenizer");
    copy(temporary, "text_encoder");
    File config = temporary.resolve("tokenizer/tokenizer_config.json").toFile();
    String text = Files.readString(config.toPath());
    Files.writeString(config.toPath(), text.replace("<|im_end|>", "<|message_end|>"));
    assertRefused(
        ModelFormatException.class,
        () -> QwenPromptEncoder.open(temporary, ScalarType.Float).close(),
        "tokenizer_config.json",
        "<|im_end|>");
  }

  @Test
  void refusesATokenizerThatLeavesTooLittle(@TempDir Path temporary) throws IOException {
    copy(temporary, "tokenizer");
    ObjectMapper json = new ObjectMapper();
    File config = temporary.resolve("tokenizer/tokenizer_config.json").toFile();
    ObjectNode settings = (ObjectNode) json.readTree(config);
    ((ArrayNode) settings.get("additional_special_tokens")).add("texture, quantity, text");
    json.writeValue(config, settings);
    assertRefused(
        ModelFormatException.class,
        () -> QwenPromptEncoder.open(temporary, ScalarType.Float).close(),
        "template",
        "34");
  }

  @Test
  void refusesAFolderWithAPartMissing(@TempDir Path temporary) {
    copy(temporary, "tokenizer");
    assertRefused(
        ModelFormatException.class,
        () -> QwenPromptEncoder.open(temporary, ScalarType.Float),
        "text_encoder");
  }

  @Test
  void closedEncoderRefuses() {
    QwenPromptEncoder encoder = QwenPromptEncoder.open(MODEL, ScalarType.Float);
    encoder.close();
    encoder.close();
    assertRefused(IllegalStateException.class, () -> encoder.encode(List.of("a cat"), 8), "closed");
  }

  @Test
  void sameInputGivesTheSameBits() {
    try (PointerScope scope = new PointerScope();
        QwenPromptEncoder encoder = QwenPromptEncoder.open(MODEL, ScalarType.Float)) {
      Tensor first = encoder.encode(List.of("a cat"), 16).embeds();
      assertExact("embeds", first, encoder.encode(List.of("a cat"), 16).embeds());
    }
  }

  private static void copy(Path folder, String part) {
    FolderCopies.copyWithout(MODEL.resolve(part), folder.resolve(part), List.of());
  }

  private static int number(Matcher matcher) {
    return Integer.parseInt(matcher.group(1));
  }
}
