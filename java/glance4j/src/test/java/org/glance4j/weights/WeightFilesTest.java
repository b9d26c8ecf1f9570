package org.glance4j.weights;

import static org.glance4j.weights.Refusal.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class WeightFilesTest {
  private static final String INDEX = "model.safetensors.index.json";
  private static final String SHARD_1 = "model-00001-of-00002.safetensors";
  private static final String SHARD_2 = "model-00002-of-00002.safetensors";

  @TempDir Path temp;
  private Path folder;

  @BeforeEach
  void makeFolder() throws IOException {
    folder = Files.createDirectory(temp.resolve("component"));
  }

  @ParameterizedTest
  @CsvSource({
    "diffusion_pytorch_model.safetensors.index.json,diffusion_pytorch_model.safetensors",
    "model.safetensors,model.safetensors.index.json",
  })
  void choosesAsTheLibraryThatWritesTheNames(String chosen, String passedOver) {
    for (String name : List.of(chosen, passedOver)) {
      if (name.endsWith(".json")) {
        shard(SHARD_1, "a");
        index(name, "\"a\": \"" + SHARD_1 + "\"");
      } else {
        shard(name, "a");
      }
    }
    shard("model.fp16.safetensors", "other");
    assertEquals(folder.resolve(chosen), WeightFiles.in(folder).origin());
  }

  @Test
  void readsShards() {
    twoShards();
    WeightFiles files = WeightFiles.in(folder);
    assertEquals(folder.resolve(INDEX), files.origin());
    assertEquals(
        List.of(folder.resolve(SHARD_1), folder.resolve(SHARD_2)),
        files.headers().stream().map(SafetensorsHeader::file).toList());
  }

  @Test
  void refusesAShardThatIsNotThere() throws IOException {
    twoShards();
    Files.delete(folder.resolve(SHARD_2));
    assertRefused(folder.resolve(INDEX), this::open, SHARD_2, "not there");
    index(INDEX, "\"a\": \"" + SHARD_2 + "\"");
    assertRefused(folder.resolve(INDEX), this::open, SHARD_2, "not there");
    Files.createSymbolicLink(folder.resolve(SHARD_2), Path.of("nowhere"));
    assertRefused(folder.resolve(SHARD_2), this::open, "link");
  }

  @Test
  void refusesAnIndexThatNamesAnotherShard() {
    shard(SHARD_1, "a");
    shard(SHARD_2, "b");
    index(INDEX, "\"a\": \"" + SHARD_2 + "\", \"b\": \"" + SHARD_1 + "\"");
    assertRefused(folder.resolve(INDEX), this::open, ": b: ", SHARD_1);
  }

  @Test
  void refusesATensorTheIndexDoesNotName() {
    shard(SHARD_1, "a", "stray");
    index(INDEX, "\"a\": \"" + SHARD_1 + "\"");
    assertRefused(folder.resolve(SHARD_1), this::open, ": stray: ", INDEX);
  }

  @Test
  void refusesATensorInTwoShards() {
    shard(SHARD_1, "a");
    shard(SHARD_2, "b", "a");
    index(INDEX, "\"a\": \"" + SHARD_1 + "\", \"b\": \"" + SHARD_2 + "\"");
    assertRefused(folder.resolve(SHARD_2), this::open, ": a: ", SHARD_1);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../component/model-00001-of-00002.safetensors",
        "sub/model-00001-of-00002.safetensors",
        "..\\\\model-00001-of-00002.safetensors",
        "/etc/passwd",
        "..",
        "",
        "pytorch_model.bin",
        "nul\\u0000.safetensors",
      })
  void refusesShardNamesThatLeaveTheFolder(String shard) {
    twoShards();
    index(INDEX, "\"a\": \"" + shard + "\", \"b\": \"" + SHARD_2 + "\"");
    assertRefused(folder.resolve(INDEX), this::open);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{}",
        "[]",
        "{\"weight_map\": {}}",
        "{\"weight_map\": []}",
        "{\"weight_map\": {\"a\": 1}}",
        "{\"weight_map\": {\"a\": \"x.safetensors\", \"a\": \"y.safetensors\"}}",
        "{\"weight_map\": {\"a\": \"x.safetensors\"",
      })
  void refusesBrokenIndexes(String json) throws IOException {
    Files.writeString(folder.resolve(INDEX), json);
    assertRefused(folder.resolve(INDEX), this::open);
  }

  @Test
  void saysWhatWasFoundInstead() throws IOException {
    assertRefused(
        temp.resolve("none"), () -> WeightFiles.in(temp.resolve("none")), "no such folder");
    assertRefused(folder, this::open, "none there", "model.safetensors");
    Files.write(folder.resolve("pytorch_model.bin"), new byte[] {1});
    assertRefused(folder, this::open, "pytorch_model.bin", "only safetensors");
    shard("model.fp16.safetensors", "a");
    shard(SHARD_1, "b");
    assertRefused(folder, this::open, SHARD_1 + ", model.fp16.safetensors", "rename");
    shard("model.safetensors", "a");
    assertEquals(1, WeightFiles.in(folder).headers().size());
  }

  private WeightFiles open() {
    return WeightFiles.in(folder);
  }

  private void twoShards() {
    shard(SHARD_1, "a");
    shard(SHARD_2, "b");
    index(INDEX, "\"a\": \"" + SHARD_1 + "\", \"b\": \"" + SHARD_2 + "\"");
  }

  private void shard(String name, String... tensors) {
    TestSafetensors writer = new TestSafetensors();
    for (String tensor : tensors) {
      writer.floats(tensor, new long[] {1}, 1);
    }
    writer.write(folder.resolve(name));
  }

  private void index(String name, String entries) {
    String json = "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {" + entries + "}}";
    TestSafetensors.write(folder.resolve(name), json.getBytes(StandardCharsets.UTF_8));
  }
}
