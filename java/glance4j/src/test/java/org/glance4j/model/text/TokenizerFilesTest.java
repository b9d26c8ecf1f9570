package org.glance4j.model.text;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.util.RawValue;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;
import java.util.function.Function;
import org.glance4j.ModelFormatException;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Damaged and unusual tokenizer folders. */
class TokenizerFilesTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir private Path temporary;
  private Path clip;
  private Path t5;

  @BeforeEach
  void copyFolders() {
    Path model = Reference.path("flux-tiny-random");
    assumeTrue(Files.isDirectory(model));
    clip =
        FolderCopies.copyWithout(
            model.resolve("tokenizer"), temporary.resolve("clip"), List.of("tokenizer.json"));
    t5 = FolderCopies.copyWithout(model.resolve("tokenizer_2"), temporary.resolve("t5"), List.of());
  }

  @Test
  void refusesAFolderWithoutVocabulary() throws IOException {
    Path empty = Files.createDirectory(temporary.resolve("empty"));
    assertRefused(Tokenizer::clip, empty, "merges.txt");
    assertRefused(Tokenizer::t5, empty, "spiece.model");
    assertRefused(Tokenizer::clip, temporary.resolve("none"), "no such folder");
  }

  @Test
  void refusesTheOtherEncodersVocabulary() throws IOException {
    Files.copy(t5.resolve("tokenizer.json"), clip.resolve("tokenizer.json"));
    assertRefused(Tokenizer::clip, clip, "Unigram");
    edit(t5.resolve("tokenizer.json"), root -> ((ObjectNode) root.get("model")).put("type", "BPE"));
    assertRefused(Tokenizer::t5, t5, "BPE");
  }

  @ParameterizedTest
  @CsvSource({"no such piece, line", "a b c, two pieces", "alone, two pieces"})
  void refusesBadMerges(String line, String message) throws IOException {
    Path merges = clip.resolve("merges.txt");
    Files.writeString(merges, Files.readString(merges) + line + "\n");
    assertRefused(Tokenizer::clip, clip, "merges.txt", message);
  }

  @ParameterizedTest
  @ValueSource(strings = {"-1", "1.5", "\"1\"", "0", "4294967296"})
  void refusesBadIds(String id) throws IOException {
    Path vocab = clip.resolve("vocab.json");
    edit(vocab, root -> root.putRawValue("zzz", new RawValue(id)));
    assertRefused(Tokenizer::clip, clip, "vocab.json", "zzz", id.equals("0") ? "another" : id);
  }

  @ParameterizedTest
  @CsvSource({
    "model_max_length, \"many\"",
    "padding_side, \"left\"",
    "truncation_side, \"left\"",
    "added_tokens_decoder, {\"x\": \"y\"}",
    "added_tokens_decoder, {\"1\": {\"special\": true}}",
    "pad_token, 3",
  })
  void refusesBadSettings(String key, String value) throws IOException {
    edit(clip.resolve("tokenizer_config.json"), root -> root.putRawValue(key, new RawValue(value)));
    assertRefused(Tokenizer::clip, clip, "tokenizer_config.json", key);
  }

  @Test
  void refusesDamagedSentencePieceModels() throws IOException {
    Files.delete(t5.resolve("tokenizer.json"));
    Path file = t5.resolve("spiece.model");
    byte[] good = Files.readAllBytes(file);

    Files.write(file, Arrays.copyOf(good, good.length - 3));
    assertRefused(Tokenizer::t5, t5, "spiece.model", "more than are left");
    Files.writeString(file, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
    assertRefused(Tokenizer::t5, t5, "spiece.model", "not a SentencePiece model");
    Files.write(file, new byte[0]);
    assertRefused(Tokenizer::t5, t5, "spiece.model", "unknown id");
  }

  @Test
  void refusesASentencePieceModelOfAnotherKind() throws IOException {
    Files.delete(t5.resolve("tokenizer.json"));
    // A ModelProto with a trainer_spec (2) whose model_type (3) is BPE (2).
    Files.write(t5.resolve("spiece.model"), new byte[] {0x12, 2, 0x18, 2});
    assertRefused(Tokenizer::t5, t5, "spiece.model", "model_type");
  }

  @Test
  void anySingleDamageOfASentencePieceModelIsAnErrorOrHarmless() throws IOException {
    Files.delete(t5.resolve("tokenizer.json"));
    Path file = t5.resolve("spiece.model");
    byte[] good = Files.readAllBytes(file);
    Random random = new Random(7);
    for (int i = 0; i < 100; i++) {
      byte[] bad = good.clone();
      bad[random.nextInt(bad.length)] ^= (byte) (1 << random.nextInt(8));
      Files.write(file, bad);
      try (Tokenizer tokenizer = Tokenizer.t5(t5)) {
        assertEquals(16, tokenizer.encode("A ﬁne ① cat, ½ price™", 16).ids().length);
      } catch (ModelFormatException e) {
        assertTrue(String.valueOf(e.getMessage()).contains("spiece.model"), e.toString());
      }
    }
  }

  @Test
  void refusesCharacterMapsThatPointOutside() throws IOException {
    byte[] good = charsmap();
    int trieBytes = ByteBuffer.wrap(good).order(ByteOrder.LITTLE_ENDIAN).getInt();

    refuseCharsmap(new byte[] {1, 2}, "too few");
    refuseCharsmap(Arrays.copyOf(good, trieBytes), "trie cannot have");
    refuseCharsmap(Arrays.copyOf(good, Integer.BYTES + trieBytes), "points outside");
    byte[] far = good.clone();
    Arrays.fill(far, Integer.BYTES, 2 * Integer.BYTES, (byte) 0x7F);
    refuseCharsmap(far, "points outside");
    byte[] notText = good.clone();
    notText[notText.length - 2] = (byte) 0xC0;
    refuseCharsmap(notText, "UTF-8");
    refuseCharsmap("*", "base64");
  }

  @Test
  void addsTokensThatOnlyTheConfigurationLists() throws IOException {
    long[] before = clipIds("a <style> cat");
    edit(
        clip.resolve("tokenizer_config.json"),
        root -> root.putArray("additional_special_tokens").add("<style>"));
    long[] after = clipIds("a <style> cat");
    int vocabulary = JSON.readTree(clip.resolve("vocab.json").toFile()).size();
    assertEquals(vocabulary, after[2], "gets the first id behind the vocabulary");
    assertTrue(Arrays.stream(before).allMatch(id -> id < vocabulary));
  }

  @Test
  void theLimitMayBeLeftOpen() throws IOException {
    edit(clip.resolve("tokenizer_config.json"), root -> root.put("model_max_length", 1e30));
    assertEquals(Integer.MAX_VALUE, modelMaxLength(clip));
    edit(clip.resolve("tokenizer_config.json"), root -> root.remove("model_max_length"));
    assertEquals(Integer.MAX_VALUE, modelMaxLength(clip));
    edit(clip.resolve("tokenizer_config.json"), root -> root.put("model_max_length", 50));
    assertEquals(50, modelMaxLength(clip));
  }

  @Test
  void djlCanLoadTheLibraryToo() {
    System.setProperty("ENGINE_CACHE_DIR", temporary.toString());
    try {
      NativeTokenizers.loadThroughDjl();
      assertNull(System.getProperty("ai.djl.offline"), "left as it was");
      assertTrue(clipIds("cat").length > 0);
    } finally {
      System.clearProperty("ENGINE_CACHE_DIR");
    }
  }

  private byte[] charsmap() throws IOException {
    return Base64.getDecoder()
        .decode(
            JSON.readTree(t5.resolve("tokenizer.json").toFile())
                .at("/normalizer/precompiled_charsmap")
                .asText());
  }

  private void refuseCharsmap(byte[] charsmap, String message) throws IOException {
    refuseCharsmap(Base64.getEncoder().encodeToString(charsmap), message);
  }

  private void refuseCharsmap(String text, String message) throws IOException {
    edit(
        t5.resolve("tokenizer.json"),
        root -> ((ObjectNode) root.get("normalizer")).put("precompiled_charsmap", text));
    assertRefused(Tokenizer::t5, t5, "tokenizer.json", "charsmap", message);
  }

  private long[] clipIds(String prompt) {
    try (Tokenizer tokenizer = Tokenizer.clip(clip)) {
      return tokenizer.encode(prompt, 12).ids();
    }
  }

  private static int modelMaxLength(Path folder) {
    try (Tokenizer tokenizer = Tokenizer.clip(folder)) {
      return tokenizer.modelMaxLength();
    }
  }

  private static void edit(Path file, Consumer<ObjectNode> change) throws IOException {
    ObjectNode root = (ObjectNode) JSON.readTree(file.toFile());
    change.accept(root);
    JSON.writeValue(file.toFile(), root);
  }

  private static void assertRefused(Function<Path, Tokenizer> open, Path folder, String... parts) {
    Refusal.assertRefused(ModelFormatException.class, () -> open.apply(folder).close(), parts);
  }
}
