package org.glance4j.model.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.util.RawValue;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Qwen2's tokenizer: the reference's ids from every kind of folder, and damaged folders. */
class Qwen2TokenizerTest {
  private static final Path QWEN = Reference.path("qwen-image-tiny-random/tokenizer");
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Pattern LIMIT = Pattern.compile("max_length=(\\d+)");
  private static final String CONFIG = "tokenizer_config.json";
  private static final String START = "<|im_start|>";

  @TempDir private Path temporary;

  @BeforeAll
  static void needsTheModel() {
    assumeTrue(Files.isDirectory(QWEN));
  }

  @TestFactory
  List<DynamicTest> idsOfReferencePrompts() throws IOException {
    assumeTrue(Reference.hasGoldens("qwen_text"));
    List<DynamicTest> tests = new ArrayList<>();
    for (Path folder : List.of(QWEN, withoutDecoder(), onlyTokenizerJson())) {
      String name = " from " + folder.getFileName();
      tests.add(dynamicTest("raw ids" + name, () -> checkIds(folder, "raw_ids_flat")));
      tests.add(dynamicTest("template" + name, () -> checkIds(folder, "input_ids_flat")));
    }
    return tests;
  }

  /** Older folders list the added tokens elsewhere. */
  private Path withoutDecoder() throws IOException {
    Path folder = copy("no decoder");
    edit(folder.resolve(CONFIG), root -> root.remove("added_tokens_decoder"));
    return folder;
  }

  /** The one file that the {@code tokenizers} library needs. */
  private Path onlyTokenizerJson() throws IOException {
    Path folder = Files.createDirectory(temporary.resolve("only tokenizer.json"));
    ObjectNode root = JSON.createObjectNode();
    ArrayNode added = root.putArray("added_tokens");
    for (Map.Entry<String, JsonNode> entry :
        JSON.readTree(QWEN.resolve(CONFIG).toFile()).get("added_tokens_decoder").properties()) {
      ObjectNode token = added.addObject().put("id", Integer.parseInt(entry.getKey()));
      token.setAll((ObjectNode) entry.getValue());
    }
    ObjectNode model = root.putObject("model").put("type", "BPE");
    model.set("vocab", JSON.readTree(QWEN.resolve("vocab.json").toFile()));
    ArrayNode merges = model.putArray("merges");
    Files.readAllLines(QWEN.resolve("merges.txt")).stream()
        .filter(line -> !line.isEmpty() && !line.startsWith("#version"))
        .forEach(merges::add);
    JSON.writeValue(folder.resolve("tokenizer.json").toFile(), root);
    return folder;
  }

  private static void checkIds(Path folder, String tensor) {
    try (Goldens goldens = Reference.goldens("qwen_text");
        Tokenizer tokenizer = Tokenizer.qwen2(folder, START)) {
      JsonNode entry = goldens.entry();
      String template = tensor.startsWith("raw") ? "{}" : entry.get("template").asText();
      Matcher limit = LIMIT.matcher(entry.at("/tensors/" + tensor + "/call").asText());
      int most = limit.find() ? Integer.parseInt(limit.group(1)) : Integer.MAX_VALUE;
      long[] all = values(goldens.get(tensor));
      long[] lengths = values(goldens.get(tensor.replace("_ids_flat", "_lengths")));
      List<String> prompts = Reference.strings(entry.get("prompts"));
      int from = 0;
      for (int i = 0; i < prompts.size(); i++) {
        String text = template.replace("{}", prompts.get(i));
        long[] expected = Arrays.copyOfRange(all, from, from + (int) lengths[i]);
        TokenIds actual = tokenizer.encodeUnpadded(text, most);
        assertArrayEquals(expected, actual.ids(), "prompt " + i + ": " + prompts.get(i));
        from += expected.length;
      }
      assertEquals(all.length, from);
    }
  }

  @Test
  void truncationDropsTheEnd() {
    try (Tokenizer tokenizer = Tokenizer.qwen2(QWEN)) {
      TokenIds whole = tokenizer.encodeUnpadded("a cat on a mat", 100);
      assertEquals(whole.ids().length, whole.untruncatedLength());
      TokenIds cut = tokenizer.encodeUnpadded("a cat on a mat", 3);
      assertArrayEquals(Arrays.copyOf(whole.ids(), 3), cut.ids());
      assertEquals(whole.untruncatedLength(), cut.untruncatedLength());
      assertEquals(0, tokenizer.encodeUnpadded("", 100).ids().length);
    }
  }

  @Test
  void paddingIsTheEndOfText() throws IOException {
    JsonNode added = JSON.readTree(QWEN.resolve("added_tokens.json").toFile());
    try (Tokenizer tokenizer = Tokenizer.qwen2(QWEN)) {
      long[] ids = tokenizer.encode("a cat", 100).ids();
      assertEquals(added.get("<|endoftext|>").asInt(), ids[99]);
    }
  }

  @Test
  void namesTheNeededTokenThatIsMissing() throws IOException {
    Path listed = copy("listed");
    edit(listed.resolve(CONFIG), Qwen2TokenizerTest::removeStart);
    refuse(listed, CONFIG, START);
    Tokenizer.qwen2(listed).close();

    Path older = withoutDecoder();
    edit(older.resolve(CONFIG), Qwen2TokenizerTest::removeStart);
    edit(older.resolve("special_tokens_map.json"), Qwen2TokenizerTest::removeStart);
    edit(older.resolve("added_tokens.json"), root -> root.remove(START));
    refuse(older, "added_tokens.json", START);
  }

  private static void removeStart(ObjectNode root) {
    if (root.get("added_tokens_decoder") instanceof ObjectNode decoder) {
      List<String> ids = new ArrayList<>();
      decoder.properties().stream()
          .filter(token -> token.getValue().get("content").asText().equals(START))
          .forEach(token -> ids.add(token.getKey()));
      assertFalse(ids.isEmpty());
      decoder.remove(ids);
    }
    root.remove("additional_special_tokens");
  }

  @ParameterizedTest
  @CsvSource({
    "add_prefix_space, true",
    "truncation_side, \"left\"",
    "model_max_length, \"many\"",
    "added_tokens_decoder, {\"x\": \"y\"}",
  })
  void refusesBadSettings(String key, String value) throws IOException {
    Path folder = copy("bad");
    edit(folder.resolve(CONFIG), root -> root.putRawValue(key, new RawValue(value)));
    refuse(folder, CONFIG, key);
  }

  @Test
  void thePaddingSideDoesNotMatter() throws IOException {
    Path folder = copy("left");
    edit(folder.resolve(CONFIG), root -> root.put("padding_side", "left"));
    Tokenizer.qwen2(folder, START).close();
  }

  @Test
  void refusesAFolderWithoutVocabulary() throws IOException {
    refuse(Files.createDirectory(temporary.resolve("empty")), "merges.txt");
    Path folder = copy("no merges");
    Files.delete(folder.resolve("merges.txt"));
    refuse(folder, "merges.txt");
  }

  private Path copy(String name) {
    return FolderCopies.copyWithout(QWEN, temporary.resolve(name), List.of());
  }

  private static void refuse(Path folder, String... parts) {
    Refusal.assertRefused(
        ModelFormatException.class, () -> Tokenizer.qwen2(folder, START).close(), parts);
  }

  private static void edit(Path file, Consumer<ObjectNode> change) throws IOException {
    ObjectNode root = (ObjectNode) JSON.readTree(file.toFile());
    change.accept(root);
    JSON.writeValue(file.toFile(), root);
  }

  private static long[] values(Tensor tensor) {
    Tensor ids = tensor.to(ScalarType.Long).contiguous();
    long[] values = new long[(int) ids.numel()];
    ids.data_ptr_long().get(values);
    return values;
  }
}
