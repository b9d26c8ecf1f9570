package org.glance4j.lora;

import static org.glance4j.reference.ErrorAssert.assertError;
import static org.glance4j.reference.TensorAssert.assertClose;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.glance4j.weights.SafetensorsHeader;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.function.Executable;

/** Walks the manifest's adapters, good and bad. */
class AdapterFilesTest {
  /** One adapter file of the manifest, for example adapters/flux/slow.official.safetensors. */
  private record Case(String key, JsonNode entry) {
    Path path() {
      return Reference.path(key);
    }

    String model() {
      return key.split("/", -1)[1];
    }

    /** The two parts of the name: slow, official. */
    String phase() {
      return fileName().split("\\.", -1)[0];
    }

    String variant() {
      return fileName().split("\\.", -1)[1];
    }

    private String fileName() {
      return String.valueOf(path().getFileName());
    }

    /**
     * How diffusers' deltas, with scale 1 where there is no alpha, relate to the trained ones: 1,
     * or rank / alpha.
     */
    double ratio() {
      double ratio = entry.path("diffusers").path("norm_ratio_min_max").path(0).asDouble(1);
      return Math.abs(ratio - 1) < 0.01 ? 1 : ratio;
    }

    boolean isHalf() {
      return SafetensorsHeader.read(path()).tensors().values().stream()
          .anyMatch(info -> info.dtype() == ScalarType.BFloat16);
    }

    LoraAdapter load(double scaleWithoutAlpha) {
      return LoraFile.load(path(), ScalarType.Float, Linears.of(model()), scaleWithoutAlpha);
    }
  }

  /** What the message says, by the name of the broken file. */
  private static final Map<String, List<String>> REASONS =
      Map.ofEntries(
          Map.entry("block_index_out_of_range", List.of("transformer_blocks.99.attn.to_q")),
          Map.entry("unknown_target_module", List.of("attn.to_nowhere")),
          Map.entry("wrong_prefix", List.of("unet.", "attn.to_out.0", "attn.to_q")),
          Map.entry("no_lora_keys", List.of("attn.to_q.weight", "holds no LoRA tensors")),
          Map.entry("missing_lora_A", List.of("attn.to_q", "no down matrix")),
          Map.entry("missing_lora_B", List.of("attn.to_q", "no up matrix")),
          Map.entry("rank_mismatch_A_B", List.of("attn.to_q.lora_B.weight", "rank")),
          Map.entry("rank_zero", List.of("attn.to_q.lora_A.weight", "rank")),
          Map.entry("three_dimensional_A", List.of("attn.to_q.lora_A.weight", "2 dimensions")),
          Map.entry("nan_weight", List.of("attn.to_q.lora_", "NaN or infinity")),
          Map.entry("inf_weight", List.of("attn.to_q.lora_", "NaN or infinity")),
          Map.entry("nan_alpha", List.of("attn.to_q.alpha", "NaN")),
          Map.entry("integer_alpha", List.of("attn.to_q.alpha", "type")),
          Map.entry("wrong_in_features", List.of("attn.to_q.lora_A.weight", "features")),
          Map.entry("wrong_out_features", List.of("attn.to_q.lora_B.weight", "features")));

  private static List<Case> cases() {
    List<Case> cases = new ArrayList<>();
    for (Map.Entry<String, JsonNode> adapter : Reference.manifest().path("adapters").properties()) {
      Case found = new Case(adapter.getKey(), adapter.getValue());
      if (Files.exists(found.path()) && Linears.has(found.model())) {
        cases.add(found);
      }
    }
    return cases;
  }

  private interface Check {
    void run(Case adapter) throws Exception;
  }

  private static Stream<DynamicTest> forEach(Check check) {
    return cases().stream().map(c -> dynamicTest(c.key(), () -> check.run(c)));
  }

  @TestFactory
  Stream<DynamicTest> deltasEqualTheReference() {
    return cases().stream()
        .filter(c -> Reference.hasGoldens(c.model() + "_adapter_deltas"))
        .map(c -> dynamicTest(c.key(), () -> checkDeltas(c)));
  }

  private static void checkDeltas(Case file) {
    String goldensName = file.model() + "_adapter_deltas";
    try (Goldens goldens = Reference.goldens(goldensName);
        LoraAdapter adapter = file.load(1);
        LoraAdapter asTrained = file.load(1 / file.ratio());
        PointerScope scope = new PointerScope()) {
      String own = file.variant() + ".";
      boolean hasOwn = goldens.names().stream().anyMatch(name -> name.startsWith(own));
      String group = hasOwn ? own : file.phase() + ".";
      int compared = 0;
      for (String name : goldens.names()) {
        String linear = name.startsWith(group) ? name.substring(group.length()) : "";
        LoraPair pair = adapter.pair(linear);
        LoraPair trained = asTrained.pair(linear);
        if (pair != null && trained != null) {
          Tensor golden = goldens.get(name);
          Tensor scaled = golden.mul(new Scalar(file.ratio()));
          assertClose(linear, scaled, delta(pair), tolerance(file, pair));
          assertClose(linear + " as trained", golden, delta(trained), tolerance(file, trained));
          compared++;
        }
      }
      boolean hasGroup = goldens.names().stream().anyMatch(name -> name.startsWith(group));
      assertTrue(compared > 0 || !hasGroup, "nothing to compare in " + adapter.pairs().keySet());
    }
  }

  /** Files of one training agree with the one that carries its alpha, in every block. */
  @TestFactory
  Stream<DynamicTest> deltasEqualThoseOfTheMetadataFile() {
    return forEach(AdapterFilesTest::checkAgainstMetadataFile);
  }

  private static void checkAgainstMetadataFile(Case file) {
    String reference = "adapters/%s/%s.metadata.safetensors".formatted(file.model(), file.phase());
    boolean otherWeights = hasOwnDeltas(file);
    try (LoraAdapter expected = new Case(reference, file.entry()).load(1);
        LoraAdapter adapter = file.load(1 / file.ratio());
        PointerScope scope = new PointerScope()) {
      for (Map.Entry<String, LoraPair> entry : adapter.pairs().entrySet()) {
        LoraPair pair = expected.pair(entry.getKey());
        assertNotNull(pair, entry.getKey());
        if (!otherWeights) {
          double tolerance = tolerance(file, pair);
          assertClose(entry.getKey(), delta(pair), delta(entry.getValue()), tolerance);
        }
      }
    }
  }

  private static boolean hasOwnDeltas(Case file) {
    String prefix = file.model() + "_adapter_deltas";
    if (!Reference.hasGoldens(prefix)) {
      return false;
    }
    try (Goldens goldens = Reference.goldens(prefix)) {
      return goldens.names().stream().anyMatch(name -> name.startsWith(file.variant() + "."));
    }
  }

  /**
   * The linears an adapter covers are those diffusers finds, and those it drops although the file
   * names them.
   */
  @TestFactory
  Stream<DynamicTest> coversWhatTheFileHolds() {
    return forEach(AdapterFilesTest::checkCoverage);
  }

  private static void checkCoverage(Case file) {
    JsonNode diffusers = file.entry().path("diffusers");
    Set<String> absent = new HashSet<>(Reference.strings(diffusers.path("missing")));
    String tensors = String.join(" ", SafetensorsHeader.read(file.path()).tensors().keySet());
    absent.removeIf(linear -> tensors.contains("." + linear + ".lora"));
    try (LoraAdapter adapter = file.load(1)) {
      if (diffusers.path("loads").asBoolean()) {
        int expected = diffusers.path("modules_in_reference").asInt() - absent.size();
        assertEquals(expected, adapter.pairs().size(), adapter.pairs().keySet().toString());
      }
      absent.forEach(linear -> assertFalse(adapter.pairs().containsKey(linear), linear));
      assertFalse(adapter.pairs().isEmpty());
    }
  }

  @TestFactory
  Stream<DynamicTest> convertsToTheTypeAskedFor() {
    return forEach(
        file -> {
          for (ScalarType dtype : List.of(ScalarType.BFloat16, ScalarType.Float)) {
            try (LoraAdapter adapter =
                LoraFile.load(file.path(), dtype, Linears.of(file.model()))) {
              for (LoraPair pair : adapter.pairs().values()) {
                assertEquals(dtype, pair.down().scalar_type().intern());
                assertEquals(dtype, pair.up().scalar_type().intern());
                assertTrue(pair.down().is_contiguous() && pair.up().is_contiguous());
              }
            }
          }
        });
  }

  @TestFactory
  Stream<DynamicTest> brokenFilesAreRefused() {
    List<DynamicTest> tests = new ArrayList<>();
    for (String key :
        Reference.manifest().path("bad").propertyStream().map(Map.Entry::getKey).toList()) {
      if (key.startsWith("bad/lora/") && Linears.has("flux")) {
        Path file = Reference.path(key);
        boolean good = file.getFileName().toString().contains("good");
        tests.add(dynamicTest(key, good ? () -> loadsWhole(file) : refusal(file)));
      }
    }
    return tests.stream();
  }

  private static void loadsWhole(Path file) {
    try (LoraAdapter adapter = LoraFile.load(file, ScalarType.Float, Linears.of("flux"))) {
      assertEquals(SafetensorsHeader.read(file).tensors().size(), 2 * adapter.pairs().size());
    }
  }

  /** Each error names the file, the linear or tensor at fault, and the reason. */
  private static Executable refusal(Path file) {
    String name = file.getFileName().toString().replace(".safetensors", "");
    String[] expected = REASONS.getOrDefault(name, List.of()).toArray(new String[0]);
    return () -> {
      Executable load = () -> LoraFile.load(file, ScalarType.Float, Linears.of("flux")).close();
      assertError(ModelFormatException.class, load, file.toString());
      assertError(ModelFormatException.class, load, expected);
    };
  }

  private static Tensor delta(LoraPair pair) {
    return pair.up().mm(pair.down()).mul(new Scalar(pair.scale()));
  }

  /** f32 rounding; for files in bf16 what rounding both matrices to 8 bits may do, and some. */
  private static double tolerance(Case file, LoraPair pair) {
    if (!file.isHalf()) {
      return 1e-6;
    }
    double largest = pair.up().abs().mm(pair.down().abs()).max().item_double();
    return 1.05 * largest * pair.scale() / 256;
  }
}
