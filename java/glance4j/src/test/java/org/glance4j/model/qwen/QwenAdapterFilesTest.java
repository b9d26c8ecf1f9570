package org.glance4j.model.qwen;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraFile;
import org.glance4j.lora.LoraPair;
import org.glance4j.reference.Reference;
import org.glance4j.weights.SafetensorsHeader;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Every adapter of the manifest for Qwen-Image, loaded for the transformer itself. */
class QwenAdapterFilesTest {
  private static final Path MODEL = Reference.path("qwen-image-tiny-random/transformer");
  private static final String PREFIX = "adapters/qwen/";

  /** alpha / rank of the published recipe, which its files do not say. */
  private static final double RECIPE_SCALE = 4;

  private static QwenTransformer open() {
    assumeTrue(Files.isDirectory(MODEL), "no Qwen-Image in this reference folder");
    return QwenTransformer.open(MODEL, ScalarType.Float, Backend.TORCH);
  }

  @Test
  void targetsAreThoseOfTheRecipe() {
    try (QwenTransformer transformer = open()) {
      List<String> targets = transformer.glanceTargets();
      int layers = transformer.config().layers();
      assertEquals(12 * layers, targets.size(), targets.toString());
      assertTrue(transformer.linears().keySet().containsAll(targets));
      assertEquals(2 * layers + 1, transformer.modulationTargets().size());
    }
  }

  @TestFactory
  List<DynamicTest> everyFileIsTheTrainedAdapter() {
    Map<String, LinearShape> linears;
    Set<String> targets;
    try (QwenTransformer transformer = open()) {
      linears = Map.copyOf(transformer.linears());
      targets = new TreeSet<>(transformer.glanceTargets());
    }
    return files()
        .map(file -> DynamicTest.dynamicTest(file, () -> check(file, linears, targets)))
        .toList();
  }

  private static Stream<String> files() {
    return Reference.manifest()
        .path("adapters")
        .propertyStream()
        .map(Map.Entry::getKey)
        .filter(key -> key.startsWith(PREFIX) && Files.exists(Reference.path(key)));
  }

  private static void check(String key, Map<String, LinearShape> linears, Set<String> targets) {
    Path file = Reference.path(key);
    String phase = key.substring(PREFIX.length(), key.indexOf('.'));
    Path trained = Reference.path(PREFIX + phase + ".metadata.safetensors");
    try (LoraAdapter adapter = LoraFile.load(file, ScalarType.Float, linears, RECIPE_SCALE);
        LoraAdapter expected = LoraFile.load(trained, ScalarType.Float, linears);
        PointerScope scope = new PointerScope()) {
      assertEquals(targets, new TreeSet<>(expected.pairs().keySet()));
      // A file of some blocks holds all the recipe's linears of those.
      Set<String> names = new TreeSet<>(targets);
      if (key.contains("block0")) {
        names.removeIf(name -> !name.startsWith("transformer_blocks.0."));
      }
      assertEquals(names, new TreeSet<>(adapter.pairs().keySet()));
      assertFalse(names.isEmpty());
      boolean half =
          SafetensorsHeader.read(file).tensors().values().stream()
              .anyMatch(info -> info.dtype() == ScalarType.BFloat16);
      for (String name : names) {
        Tensor delta = delta(adapter, name);
        Tensor want = delta(expected, name);
        double tolerance = half ? want.abs().max().item_double() / 100 : 1e-6;
        assertClose(name, want, delta, tolerance);
      }
    }
  }

  private static Tensor delta(LoraAdapter adapter, String name) {
    LoraPair pair = Objects.requireNonNull(adapter.pair(name), name);
    return pair.up().mm(pair.down()).mul(new Scalar(pair.scale()));
  }
}
