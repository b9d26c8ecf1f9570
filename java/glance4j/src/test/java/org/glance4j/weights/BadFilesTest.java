package org.glance4j.weights;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.glance4j.ModelFormatException;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Every broken input of the reference's manifest is refused, with a message that names the file and
 * the item in it, whatever the reference libraries make of it. Those called good are read.
 *
 * <p>Adapters ({@code bad/lora}) have their own test.
 */
class BadFilesTest {
  /** What the overlays lie over. */
  private static final Path BASE = Reference.path("flux-tiny-random");

  @TempDir Path temp;

  @TestFactory
  Stream<DynamicTest> files() {
    return cases("bad/safetensors/", this::file);
  }

  @TestFactory
  Stream<DynamicTest> components() {
    return cases("bad/components/", this::component);
  }

  @TestFactory
  Stream<DynamicTest> overlays() {
    return cases("bad/overlay/", this::overlay);
  }

  /** If this failed, the overlays would be refused for the wrong reason. */
  @TestFactory
  Stream<DynamicTest> theModelUnderTheOverlaysIsGood() {
    return Files.exists(BASE)
        ? Stream.of(
            DynamicTest.dynamicTest(
                BASE.getFileName() + "", () -> ModelLoader.openModel(layOver(BASE))))
        : Stream.empty();
  }

  private static Stream<DynamicTest> cases(String prefix, Consumer<String> test) {
    Map<String, JsonNode> cases = new TreeMap<>();
    Reference.manifest().path("bad").properties().stream()
        .filter(entry -> entry.getKey().startsWith(prefix))
        .forEach(entry -> cases.put(entry.getKey(), entry.getValue()));
    return cases.keySet().stream().map(key -> DynamicTest.dynamicTest(key, () -> test.accept(key)));
  }

  private static boolean isGood(String key) {
    String name = key.replace(".safetensors", "");
    return name.endsWith("_ok") || name.endsWith("good");
  }

  private void file(String key) {
    Path file = Reference.path(key);
    if (!isGood(key)) {
      String message = refused(() -> readAll(file));
      assertTrue(message.startsWith(file + ": "), message);
      return;
    }
    readAll(file);
    JsonNode shapes = Reference.manifest().path("bad").path(key).path("tensors");
    Map<String, TensorInfo> tensors = SafetensorsHeader.read(file).tensors();
    assertEquals(shapes.size(), tensors.size());
    tensors.forEach(
        (name, info) ->
            assertEquals(shapes.get(name).toString(), info.shape().toString().replace(" ", "")));
  }

  private static void readAll(Path path) {
    try (PointerScope scope = new PointerScope();
        SafetensorsFile file = SafetensorsFile.open(path)) {
      file.tensors().keySet().forEach(name -> file.tensor(name).sum().item_double());
    }
  }

  private void component(String key) {
    Path folder = Reference.path(key);
    if (isGood(key)) {
      ModelLoader.openComponent(folder);
      return;
    }
    String message = refused(() -> ModelLoader.openComponent(folder));
    assertTrue(message.startsWith(folder.toString()), message);
    JsonNode entry = Reference.manifest().path("bad").path(key);
    for (String list : List.of("missing", "unexpected")) {
      for (String tensor : Reference.strings(entry.path(list))) {
        assertTrue(message.contains(tensor), () -> "no " + tensor + " in: " + message);
      }
    }
    for (String tensor : notFinite(folder)) {
      assertTrue(message.contains(": " + tensor + ": "), () -> "no " + tensor + " in: " + message);
    }
  }

  /** Found by another way than the one under test. */
  private static List<String> notFinite(Path folder) {
    try (PointerScope scope = new PointerScope();
        SafetensorsFile file = SafetensorsFile.open(folder.resolve("model.safetensors"))) {
      return file.tensors().keySet().stream()
          .filter(name -> !file.tensor(name).isfinite().all().item_bool())
          .toList();
    }
  }

  private void overlay(String key) {
    Path overlay = Reference.path(key);
    Path model = layOver(BASE, overlay);
    if (isGood(key)) {
      ModelLoader.openModel(model);
      return;
    }
    String message = refused(() -> ModelLoader.openModel(model));
    for (Path changed : filesIn(overlay)) {
      Path where = Objects.requireNonNullElse(changed.getParent(), changed);
      assertTrue(message.startsWith(model.resolve(where).toString()), message);
    }
  }

  private static String refused(Runnable action) {
    ModelFormatException e = assertThrows(ModelFormatException.class, action::run);
    String message = Objects.requireNonNull(e.getMessage());
    assertEquals(1, message.lines().count(), message);
    return message;
  }

  /** A copy of the files of {@code layers}, the later ones on top. */
  private Path layOver(Path... layers) {
    return assertDoesNotThrow(
        () -> {
          Path model = Files.createTempDirectory(temp, "model");
          for (Path layer : layers) {
            assertFalse(filesIn(layer).isEmpty(), () -> layer + " is empty");
            for (Path file : filesIn(layer)) {
              Path copy = model.resolve(file);
              Files.createDirectories(Objects.requireNonNull(copy.getParent()));
              Files.copy(layer.resolve(file), copy, StandardCopyOption.REPLACE_EXISTING);
            }
          }
          return model;
        });
  }

  /** All files under {@code folder}, relative to it. */
  private static List<Path> filesIn(Path folder) {
    try (Stream<Path> files = Files.walk(folder)) {
      return files.filter(Files::isRegularFile).map(folder::relativize).toList();
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }
}
