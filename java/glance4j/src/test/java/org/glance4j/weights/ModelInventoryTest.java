package org.glance4j.weights;

import static org.glance4j.weights.Refusal.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

class ModelInventoryTest {
  @TempDir Path temp;

  private void writeModel() throws IOException {
    Files.createDirectories(temp.resolve("tokenizer"));
    new TestSafetensors()
        .metadata("format", "pt")
        .add("a", "BF16", new long[] {3, 5}, new byte[30])
        .floats("b", new long[0], 1)
        .add("ids", "I64", new long[] {2}, new byte[16])
        .write(temp.resolve("text_encoder/model.safetensors"));
    new TestSafetensors()
        .floats("c", new long[] {2}, 1, 2)
        .write(temp.resolve("vae/diffusion_pytorch_model.safetensors"));
  }

  @Test
  void listsAModelsComponents() throws IOException {
    writeModel();
    ModelInventory model = ModelInventory.of(temp);
    assertEquals(
        List.of("text_encoder", "vae"),
        model.components().stream().map(ModelInventory.Component::name).toList());
    ModelInventory.Component text = model.components().get(0);
    assertEquals(List.of("a", "b", "ids"), text.tensors().stream().map(TensorInfo::name).toList());
    assertEquals(15 + 1 + 2, text.parameters());
    assertEquals(30 + 4 + 16, text.bytes());
    assertEquals(Map.of("BF16", 30L, "F32", 4L, "I64", 16L), text.bytesByDtype());
    assertEquals(15 * 4 + 4 + 16, text.bytesAs(ScalarType.Float));
    assertEquals(15 * 2 + 2 + 16, text.bytesAs(ScalarType.BFloat16));
    assertEquals(20, model.parameters());
    assertEquals(58, model.bytes());
    assertEquals(80 + 8, model.bytesAs(ScalarType.Float));
  }

  @Test
  void listsAComponentOrAFile() throws IOException {
    writeModel();
    Path folder = temp.resolve("text_encoder");
    Path file = folder.resolve("model.safetensors");
    assertEquals("text_encoder", ModelInventory.of(folder).components().get(0).name());
    ModelInventory.Component component = ModelInventory.of(file).components().get(0);
    assertEquals("model.safetensors", component.name());
    assertEquals(Map.of("format", "pt"), component.files().get(0).metadata());
    assertEquals(3, component.tensors().size());
  }

  @Test
  void saysWhereItFoundNothing() throws IOException {
    assertRefused(temp, () -> ModelInventory.of(temp), "none there");
    Path none = temp.resolve("none");
    assertRefused(none, () -> ModelInventory.of(none), "no such file");
    Path bin = temp.resolve("unet/pytorch_model.bin");
    TestSafetensors.write(bin, new byte[1]);
    assertRefused(temp.resolve("unet"), () -> ModelInventory.of(temp), "only safetensors");
  }

  /** Indexes that say how much they hold must say the same as the headers. */
  @TestFactory
  Stream<DynamicTest> agreesWithTheReferencesIndexes() throws IOException {
    try (Stream<Path> files = Files.walk(Reference.root(), 3)) {
      List<Path> indexes =
          files
              .filter(p -> p.toString().endsWith(".safetensors.index.json"))
              .filter(p -> !p.startsWith(Reference.path("bad")))
              .toList();
      return indexes.stream()
          .map(
              index ->
                  DynamicTest.dynamicTest(
                      Reference.root().relativize(index).toString(), () -> compare(index)));
    }
  }

  private static void compare(Path index) {
    JsonNode metadata =
        Reference.readJson(Reference.root().relativize(index).toString()).path("metadata");
    ModelInventory inventory = ModelInventory.of(index.resolveSibling(""));
    assertEquals(metadata.path("total_size").longValue(), inventory.bytes());
    if (metadata.has("total_parameters")) {
      assertEquals(metadata.path("total_parameters").longValue(), inventory.parameters());
    }
  }

  /** For a platform that has no native code, loading any of it fails. */
  @Test
  void needsNoNativeCode() throws IOException, InterruptedException {
    writeModel();
    List<String> noNatives = List.of("-Dorg.bytedeco.javacpp.platform=none");
    String listed = ChildJvm.run(PrintBytes.class, Map.of(), noNatives, temp.toString());
    assertEquals("58 bytes", listed);
    String opened =
        ChildJvm.run(
            SafetensorsFileTest.OpenByUri.class,
            Map.of(),
            noNatives,
            temp.resolve("vae/diffusion_pytorch_model.safetensors").toUri().toString());
    assertTrue(opened.contains("UnsatisfiedLinkError"), opened);
  }

  static final class PrintBytes {
    public static void main(String[] args) {
      System.out.println(ModelInventory.of(Path.of(args[0])).bytes() + " bytes");
    }
  }
}
