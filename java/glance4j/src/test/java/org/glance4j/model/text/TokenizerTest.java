package org.glance4j.model.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeout;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TokenizerTest {
  private static final Path CLIP = Reference.path("flux-tiny-random/tokenizer");
  private static final Path T5 = Reference.path("flux-tiny-random/tokenizer_2");
  private static final Path BUNDLED =
      Path.of("../glance4j-tiny/src/main/resources/org/glance4j/glance-tiny");

  @TempDir private Path temporary;

  @BeforeAll
  static void needsTheModel() {
    assumeTrue(Files.isDirectory(CLIP));
  }

  @TestFactory
  List<DynamicTest> clipIdsOfReferencePrompts() {
    return referencePrompts("clip", Tokenizer::clip, FolderCopies.clip(CLIP, temporary));
  }

  @TestFactory
  List<DynamicTest> t5IdsOfReferencePrompts() {
    return referencePrompts("t5", Tokenizer::t5, FolderCopies.t5(T5, temporary));
  }

  @TestFactory
  List<DynamicTest> clipIdsOfBundledModel() {
    Path folder = BUNDLED.resolve("tokenizer");
    return bundledPrompts("clip_ids", Tokenizer::clip, FolderCopies.clip(folder, temporary));
  }

  @TestFactory
  List<DynamicTest> t5IdsOfBundledModel() {
    Path folder = BUNDLED.resolve("tokenizer_2");
    return bundledPrompts("t5_ids", Tokenizer::t5, FolderCopies.t5(folder, temporary));
  }

  private static List<DynamicTest> referencePrompts(
      String encoder, Function<Path, Tokenizer> open, List<Path> folders) {
    assumeTrue(Reference.hasGoldens("flux_text"));
    List<DynamicTest> tests = new ArrayList<>();
    try (Goldens goldens = Reference.goldens("flux_text")) {
      List<String> prompts = Reference.strings(goldens.entry().path("prompts"));
      long[] lengths = values(goldens.get(encoder + "_untruncated_lengths"));
      for (String name : goldens.names()) {
        if (name.startsWith(encoder + "_input_ids")) {
          long[] ids = values(goldens.get(name));
          for (Path folder : folders) {
            tests.add(
                dynamicTest(
                    name + " from " + folder.getFileName(),
                    () -> assertIds(open, folder, prompts, ids, lengths)));
          }
        }
      }
    }
    assertFalse(tests.isEmpty());
    return tests;
  }

  private static void assertIds(
      Function<Path, Tokenizer> open,
      Path folder,
      List<String> prompts,
      long[] ids,
      long[] lengths) {
    int length = ids.length / prompts.size();
    try (Tokenizer tokenizer = open.apply(folder)) {
      for (int i = 0; i < prompts.size(); i++) {
        TokenIds actual = tokenizer.encode(prompts.get(i), length);
        long[] expected = LongStream.of(ids).skip((long) i * length).limit(length).toArray();
        assertArrayEquals(expected, actual.ids(), "prompt " + i + ": " + prompts.get(i));
        assertEquals(lengths[i], actual.untruncatedLength(), "length of prompt " + i);
      }
    }
  }

  private static List<DynamicTest> bundledPrompts(
      String tensor, Function<Path, Tokenizer> open, List<Path> folders) {
    Map<String, String> files = bundledPromptFiles();
    List<DynamicTest> tests = new ArrayList<>();
    for (Path folder : folders) {
      files.forEach(
          (file, prompt) ->
              tests.add(
                  dynamicTest(
                      "\"" + prompt + "\" from " + folder.getFileName(),
                      () -> {
                        try (Goldens goldens = Goldens.open(Reference.path("glance-tiny/" + file));
                            Tokenizer tokenizer = open.apply(folder)) {
                          long[] ids = values(goldens.get(tensor));
                          assertArrayEquals(ids, tokenizer.encode(prompt, ids.length).ids());
                        }
                      })));
    }
    return tests;
  }

  private static Map<String, String> bundledPromptFiles() {
    assumeTrue(Reference.path("glance-tiny/manifest.json").toFile().exists());
    JsonNode manifest = Reference.readJson("glance-tiny/manifest.json");
    Map<String, String> files = new LinkedHashMap<>();
    files.put("negative.safetensors", manifest.path("negative_prompt").asText());
    for (JsonNode run : manifest.path("cases")) {
      files.put(run.path("prompt_file").asText(), run.path("prompt").asText());
    }
    return files;
  }

  @ParameterizedTest
  @ValueSource(ints = {10_000, 1_000_000})
  void takesLongPrompts(int characters) {
    String word = "cat ";
    String prompt = word.repeat(characters / word.length());
    assertTimeout(
        Duration.ofSeconds(60),
        () -> {
          try (Tokenizer clip = Tokenizer.clip(CLIP);
              Tokenizer t5 = Tokenizer.t5(T5)) {
            for (Tokenizer tokenizer : List.of(clip, t5)) {
              int framing = tokenizer.encode("", 77).untruncatedLength();
              int perWord = tokenizer.encode(word, 77).untruncatedLength() - framing;
              TokenIds ids = tokenizer.encode(prompt, 77);
              assertEquals(77, ids.ids().length);
              assertEquals(
                  (long) perWord * (characters / word.length()) + framing, ids.untruncatedLength());
            }
          }
        });
  }

  @Test
  void truncationKeepsTheEndToken() {
    try (Tokenizer tokenizer = Tokenizer.t5(T5)) {
      long[] full = tokenizer.encode("a cat on a mat", 100).ids();
      int length = tokenizer.encode("a cat on a mat", 100).untruncatedLength();
      long[] cut = tokenizer.encode("a cat on a mat", 3).ids();
      assertArrayEquals(new long[] {full[0], full[1], full[length - 1]}, cut);
    }
  }

  @Test
  void halfASurrogatePairIsAReplacementCharacter() {
    try (Tokenizer tokenizer = Tokenizer.clip(CLIP)) {
      assertArrayEquals(
          tokenizer.encode("a \uFFFD b \uFFFD\uD83D\uDC31", 77).ids(),
          tokenizer.encode("a \uD83D b \uDC31\uD83D\uDC31", 77).ids());
    }
  }

  @Test
  void manyThreadsGetTheSameIds() {
    try (Tokenizer tokenizer = Tokenizer.clip(CLIP)) {
      long[] expected = tokenizer.encode("a photo of a cat", 77).ids();
      IntStream.range(0, 1000)
          .parallel()
          .forEach(
              i -> assertArrayEquals(expected, tokenizer.encode("a photo of a cat", 77).ids()));
    }
  }

  @Test
  void saysWhatIsWrongWithItsArguments() {
    try (Tokenizer tokenizer = Tokenizer.clip(CLIP)) {
      Refusal.assertRefused(
          IllegalArgumentException.class, () -> tokenizer.encode("cat", 1), "length 1");
      Refusal.assertRefused(
          IllegalArgumentException.class,
          () -> tokenizer.encode("a".repeat(1 << 21), 77),
          "2,097,152");
    }
  }

  @Test
  void closedTokenizerRefuses() {
    Tokenizer tokenizer = Tokenizer.clip(CLIP);
    tokenizer.close();
    tokenizer.close();
    assertThrows(IllegalStateException.class, () -> tokenizer.encode("cat", 77));
  }

  private static long[] values(Tensor tensor) {
    Tensor ids = tensor.to(ScalarType.Long).contiguous();
    long[] values = new long[(int) ids.numel()];
    ids.data_ptr_long().get(values);
    return values;
  }
}
