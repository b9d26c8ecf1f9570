package org.glance4j.model.flux;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.model.Conditioning;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.ImageSize;
import org.glance4j.model.LoadOptions;
import org.glance4j.model.text.ClipTextEncoder;
import org.glance4j.reference.Reference;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.ScheduleSpec;
import org.glance4j.weights.ModelInventory;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A FLUX model whose text encoders and transformer take turns in memory. */
@Timeout(value = 300, unit = TimeUnit.SECONDS)
class FluxTurnsTest {
  private static final Path MODEL = Reference.path("flux-tiny-random");
  private static final ImageSize SIZE = new ImageSize(32, 48);
  private static final ScheduleSpec SCHEDULE = ScheduleSpec.parse("custom:[slow 1.0, fast 0.6]");

  @TempDir private Path temporary;

  static Stream<Path> models() {
    return Stream.of(
        MODEL, Path.of("../glance4j-tiny/src/main/resources/org/glance4j/glance-tiny"));
  }

  private static FluxModel open(Path folder, Backend backend, boolean resident) {
    return FluxModel.open(folder, new LoadOptions(ScalarType.Float, backend, resident));
  }

  @ParameterizedTest
  @MethodSource("models")
  void linearsAreKnownWithoutTheTransformer(Path folder) {
    Path weights = folder.resolve("transformer");
    Map<String, LinearShape> inFiles = new TreeMap<>();
    ModelInventory.of(weights).components().get(0).tensors().stream()
        .filter(tensor -> tensor.shape().size() == 2 && tensor.name().endsWith(".weight"))
        .forEach(
            tensor ->
                inFiles.put(
                    tensor.name().substring(0, tensor.name().length() - ".weight".length()),
                    new LinearShape(tensor.shape().get(1), tensor.shape().get(0))));
    try (FluxModel model = open(folder, Backend.TORCH, false);
        FluxTransformer transformer =
            FluxTransformer.open(weights, ScalarType.Float, Backend.TORCH)) {
      assertEquals(
          List.copyOf(transformer.linears().entrySet()), List.copyOf(model.linears().entrySet()));
      assertEquals(inFiles, new TreeMap<>(model.linears()));
      assertFalse(model.transformer().isOpen() || model.text().isOpen());
      assertTrue(model.pendingBytes() > 0);
    }
  }

  @Test
  void partsAreOpenOnlyInTheirTurn() {
    try (FluxModel model = open(MODEL, Backend.CPU, false);
        InferenceMode inference = new InferenceMode(true);
        PointerScope scope = new PointerScope()) {
      long pending = model.pendingBytes();
      Conditioning prompt = model.encode("red apple", 16);
      assertTrue(model.text().isOpen());
      assertFalse(model.transformer().isOpen());
      try (Denoiser denoiser = model.denoiser(task(model, prompt, Map.of()))) {
        assertFalse(model.text().isOpen());
        assertTrue(model.transformer().isOpen());
        assertTrue(model.pendingBytes() < pending);
        assertThrows(IllegalStateException.class, () -> model.encode("owl", 16));
        denoiser.velocity(0, model.noise(0, SIZE));
      }
      model.encode("owl", 16).close();
      assertFalse(model.transformer().isOpen());
      prompt.close();
    }
  }

  /** Every model keeps what it drew; threads draw at the same time. */
  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void threadsDrawWhatAResidentModelDraws(Backend backend) throws Exception {
    assumeTrue(Files.exists(adapter("slow")), "no adapters in this reference folder");
    List<String> prompts = List.of("red apple", "owl", "a long way home");
    try (PointerScope scope = new PointerScope();
        FluxModel resident = open(MODEL, backend, true);
        FluxModel turns = open(MODEL, backend, false);
        LoraAdapter adapter = turns.loadAdapter(adapter("slow"), ScalarType.Float)) {
      Map<Phase, AdapterMix> mixes = Map.of(Phase.SLOW, AdapterMix.of(adapter, 1));
      List<byte[]> expected = new ArrayList<>();
      for (String prompt : prompts) {
        expected.add(draw(resident, prompt, mixes));
      }
      assertTrue(resident.text().isOpen() && resident.transformer().isOpen());
      List<CompletableFuture<Void>> threads = new ArrayList<>();
      for (int t = 0; t < 2; t++) {
        threads.add(
            CompletableFuture.runAsync(
                () -> {
                  for (int p = 0; p < prompts.size(); p++) {
                    assertArrayEquals(
                        expected.get(p), draw(turns, prompts.get(p), mixes), prompts.get(p));
                  }
                },
                task -> new Thread(task, "draws").start()));
      }
      for (CompletableFuture<Void> thread : threads) {
        thread.get();
      }
      turns.releaseAdapters();
    }
  }

  private static Path adapter(String phase) {
    return Reference.path("adapters/flux/" + phase + ".metadata.safetensors");
  }

  private static DenoiseTask task(
      FluxModel model, Conditioning prompt, Map<Phase, AdapterMix> mixes) {
    Schedule schedule = SCHEDULE.resolve(model.sigmaShift(), model.imageTokens(SIZE));
    return new DenoiseTask(prompt, null, SIZE, 3.5, schedule, mixes);
  }

  /** What the transformer predicts for both steps, and the picture of that. */
  private static byte[] draw(FluxModel model, String text, Map<Phase, AdapterMix> mixes) {
    try (InferenceMode inference = new InferenceMode(true);
        PointerScope scope = new PointerScope();
        Conditioning prompt = model.encode(text, 16);
        Denoiser denoiser = model.denoiser(task(model, prompt, mixes))) {
      Tensor first = denoiser.velocity(0, model.noise(1, SIZE)).positive();
      Tensor second = denoiser.velocity(1, first).positive();
      return model.decode(second, SIZE);
    }
  }

  /** What headers and configurations show is refused at once, in the words of a whole load. */
  @TestFactory
  List<DynamicTest> damageIsSeenAtOnce() {
    assumeTrue(Reference.manifest().has("bad"));
    List<DynamicTest> tests = new ArrayList<>();
    Reference.manifest()
        .path("bad")
        .fieldNames()
        .forEachRemaining(
            name -> {
              if (name.startsWith("bad/overlay/")) {
                tests.add(DynamicTest.dynamicTest(name, () -> checkOverlay(name)));
              } else if (name.startsWith("bad/components/clip_")) {
                tests.add(DynamicTest.dynamicTest(name, () -> checkClip(Reference.path(name))));
              }
            });
    return tests;
  }

  private void checkOverlay(String name) throws IOException {
    Path folder = temporary.resolve(Path.of(name).getFileName());
    copyTree(MODEL, folder);
    copyTree(Reference.path(name), folder);
    for (boolean resident : new boolean[] {true, false}) {
      ModelFormatException refused =
          assertThrows(
              ModelFormatException.class, () -> open(folder, Backend.CPU, resident).close());
      ModelFormatException whole =
          assertThrows(
              ModelFormatException.class,
              () -> {
                // Reads the index, then the weights.
                org.glance4j.weights.ModelIndex.read(folder);
                FluxTransformer.open(folder.resolve("transformer"), ScalarType.Float, Backend.CPU)
                    .close();
              });
      assertEquals(whole.getMessage(), refused.getMessage());
    }
  }

  private static void checkClip(Path folder) {
    String name = folder.getFileName().toString();
    if (name.equals("clip_good") || name.equals("clip_nan_weight")) {
      // Values are not looked at.
      assertTrue(ClipTextEncoder.describe(folder, ScalarType.Float).width() > 0);
      return;
    }
    ModelFormatException refused =
        assertThrows(
            ModelFormatException.class, () -> ClipTextEncoder.describe(folder, ScalarType.Float));
    ModelFormatException whole =
        assertThrows(
            ModelFormatException.class, () -> ClipTextEncoder.open(folder, ScalarType.Float));
    assertEquals(whole.getMessage(), refused.getMessage());
  }

  private static void copyTree(Path from, Path to) throws IOException {
    try (Stream<Path> files = Files.walk(from)) {
      for (Path file : files.toList()) {
        Path target = to.resolve(from.relativize(file));
        if (Files.isDirectory(file)) {
          Files.createDirectories(target);
        } else {
          Files.copy(file, target, StandardCopyOption.REPLACE_EXISTING);
        }
      }
    }
  }
}
