package org.glance4j.model.dit;

import static java.util.Objects.requireNonNull;
import static org.glance4j.reference.TensorAssert.assertClose;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.model.LoraLinears;
import org.glance4j.model.Probe;
import org.glance4j.model.TestAdapters;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.glance4j.weights.Weights;
import org.junit.jupiter.api.DynamicTest;

/** What the reference says of one family's transformer, with and without its two adapters. */
public final class TransformerGoldens implements AutoCloseable {
  /** How near every value must be, times the size of the largest. */
  public static final double TOLERANCE = 1e-5;

  private static final Pattern MIXED =
      Pattern.compile("set_adapters\\(\\['slow','fast'],\\[([0-9.]+),([0-9.]+)]\\)");
  private static final Pattern SCALED = Pattern.compile("'scale':([0-9.]+)");
  private static final String FUSED = "lora_slow_fused.";

  private final Path folder;
  private final Goldens values;
  private final LoraAdapter slow;
  private final LoraAdapter fast;

  private TransformerGoldens(Path folder, Goldens values, LoraAdapter slow, LoraAdapter fast) {
    this.folder = folder;
    this.values = values;
    this.slow = slow;
    this.fast = fast;
  }

  /**
   * Opens {@code goldens/MODEL_transformer}, or skips the test where there is none.
   *
   * @param pipeline the folder of the whole model
   */
  public static TransformerGoldens open(String model, String pipeline) {
    assumeTrue(Reference.hasGoldens(model + "_transformer"));
    return new TransformerGoldens(
        Reference.path(pipeline + "/transformer"),
        Reference.goldens(model + "_transformer"),
        TestAdapters.load(model, "slow"),
        TestAdapters.load(model, "fast"));
  }

  /** The transformer's folder. */
  public Path folder() {
    return folder;
  }

  /** The tensors. */
  public Goldens values() {
    return values;
  }

  /** The expected tensor {@code name}. */
  public Tensor get(String name) {
    return values.get(name);
  }

  /** One of the two adapters. */
  public LoraAdapter slow() {
    return slow;
  }

  /** The other one. */
  public LoraAdapter fast() {
    return fast;
  }

  /** Copies every value it is shown, under the name that the reference has for it. */
  public static Probe recorder(Map<String, Tensor> seen) {
    return (module, output, value) ->
        seen.putIfAbsent(
            output.isEmpty() ? module : module + "." + output,
            value.get().clone().retainReference());
  }

  /** One test for each value under {@code prefix}, all of which {@code seen} must have. */
  public Stream<DynamicTest> compareAll(
      String prefix, Map<String, Tensor> seen, BiConsumer<String, Tensor> compare) {
    List<String> names =
        values.names().stream()
            .filter(name -> name.startsWith(prefix) && !name.startsWith(prefix + "scale"))
            .toList();
    assertTrue(names.contains(prefix + "output"), names.toString());
    return names.stream()
        .map(
            name ->
                DynamicTest.dynamicTest(
                    name,
                    () -> {
                      Tensor actual = seen.get(name.substring(prefix.length()));
                      assertNotNull(actual, "the transformer shows no such value");
                      compare.accept(name, actual);
                    }));
  }

  /** Within the tolerance times the size of the values, which are normalised but not all near 1. */
  public void assertNear(String name, Tensor actual) {
    assertNear(name, actual, 0);
  }

  /** The same, with something to spare. */
  public void assertNear(String name, Tensor actual, double spare) {
    Tensor expected = get(name);
    double size = Math.max(1, expected.abs().max().item_double());
    assertClose(name, expected, actual, TOLERANCE * size + spare);
  }

  /**
   * What the reference's sinusoids are uncertain by. Their frequencies are f32 powers, whose last
   * bit depends on the processor, and are multiplied by 1000 times {@code largest}. A linear
   * averages that over many sinusoids.
   */
  public static double sinusoidNoise(String name, double largest) {
    if (!name.startsWith("fwd.time_text_embed")) {
      return 0;
    }
    double noise = 1000 * largest * Math.ulp(1f);
    return name.endsWith(".time_proj") ? noise : noise / 16;
  }

  /**
   * One test for each output with adapters.
   *
   * @param run the transformer's output with a mix
   * @param runMerged the output of a transformer with a mix merged into it
   */
  public Stream<DynamicTest> outputsWithLora(
      Function<AdapterMix, Tensor> run, Function<AdapterMix, Tensor> runMerged) {
    return values.names().stream()
        .filter(name -> name.startsWith("lora_") && name.endsWith(".output"))
        .map(
            name ->
                DynamicTest.dynamicTest(
                    name,
                    () ->
                        assertNear(
                            name,
                            name.startsWith(FUSED)
                                ? runMerged.apply(AdapterMix.of(slow))
                                : run.apply(mix(name)))));
  }

  /** The adapters and strengths that the manifest says were active. */
  private AdapterMix mix(String name) {
    String call = values.entry().path("tensors").path(name).path("call").asText();
    if (call.contains("disable_adapters")) {
      return AdapterMix.NONE;
    }
    Matcher mixed = MIXED.matcher(call);
    if (mixed.find()) {
      return new AdapterMix(
          List.of(
              new AdapterMix.Part(slow, Double.parseDouble(mixed.group(1))),
              new AdapterMix.Part(fast, Double.parseDouble(mixed.group(2)))));
    }
    Matcher scaled = SCALED.matcher(call);
    double strength = scaled.find() ? Double.parseDouble(scaled.group(1)) : 1;
    return AdapterMix.of(name.startsWith("lora_fast") ? fast : slow, strength);
  }

  /** One test for each weight that the reference has merged. */
  public Stream<DynamicTest> mergedWeights(Map<String, LinearShape> linears) {
    String prefix = FUSED + "weight.";
    return values.names().stream()
        .filter(name -> name.startsWith(prefix))
        .map(
            name ->
                DynamicTest.dynamicTest(
                    name, () -> mergedWeight(name, name.substring(prefix.length()), linears)));
  }

  private void mergedWeight(String name, String linear, Map<String, LinearShape> linears) {
    try (Weights weights = Weights.open(folder, ScalarType.Float);
        NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      LinearShape shape = requireNonNull(linears.get(linear));
      Tensor base = weights.take(linear + ".weight", shape.outFeatures(), shape.inFeatures());
      assertNear(name, LoraLinears.merged(base, linear, AdapterMix.of(slow)));
    }
  }

  @Override
  public void close() {
    slow.close();
    fast.close();
    values.close();
  }
}
