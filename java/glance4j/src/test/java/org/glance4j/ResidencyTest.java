package org.glance4j;

import static org.glance4j.reference.ErrorAssert.assertError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.model.ImageModel;
import org.glance4j.model.MemoryNeeds;
import org.glance4j.schedule.ScheduleSpec;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Models whose parts stay in memory, or take turns, and memory that does not suffice. */
@Timeout(value = 300, unit = TimeUnit.SECONDS)
class ResidencyTest {
  private static final Path MODEL = TestModels.TINY;
  private static final ScheduleSpec TWO_STEPS = ScheduleSpec.parse("custom:[slow 1.0, fast 0.6]");

  @TempDir Path folder;

  @BeforeAll
  static void initialize() {
    NativeRuntime.initialize();
  }

  @AfterEach
  void unlimit() {
    System.clearProperty(HostMemory.LIMIT);
  }

  private static void limit(long bytes) {
    System.setProperty(HostMemory.LIMIT, String.valueOf(bytes));
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void bothWaysDrawTheSameBits(Backend backend) {
    for (Path model : List.of(MODEL, TestFamily.FLUX.model(), TestFamily.QWEN.model())) {
      GlanceOptions options = GlanceOptions.builder().backend(backend).preset("none").build();
      List<byte[]> resident = drawAll(model, options.toBuilder().keepResident(true).build());
      List<byte[]> turns = drawAll(model, options.toBuilder().keepResident(false).build());
      for (int i = 0; i < resident.size(); i++) {
        assertArrayEquals(resident.get(i), turns.get(i), model + " picture " + i);
      }
      assertArrayEquals(turns.get(0), turns.get(2), "a prompt that is known already");
    }
  }

  private List<byte[]> drawAll(Path model, GlanceOptions options) {
    List<byte[]> pictures = new ArrayList<>();
    try (Glance glance = Glance.load(model, options)) {
      pictures.add(draw(glance, "red apple", 1));
      pictures.add(draw(glance, "owl", 3.5));
      pictures.add(draw(glance, "red apple", 1));
      if (model.equals(MODEL)) {
        Path slow = TinyAdapters.write(folder.resolve("slow.safetensors"), 1);
        Path fast = TinyAdapters.write(folder.resolve("fast.safetensors"), 2);
        glance.useAdapters(slow, fast, 1);
        pictures.add(draw(glance, "red apple", 1));
        pictures.add(draw(glance, "a new one, so that the transformer is opened again", 2));
        pictures.add(draw(glance, "red apple", 1));
        assertArrayEquals(pictures.get(3), pictures.get(5), "adapters outlive the transformer");
        glance.useAdapters(fast, slow, 1);
        pictures.add(draw(glance, "yet another", 1));
      }
    }
    return pictures;
  }

  private static byte[] draw(Glance glance, String prompt, double cfg) {
    ImageRequest request =
        ImageRequest.builder(prompt)
            .schedule(TWO_STEPS)
            .cfg(cfg)
            .imageCount(2)
            .size(64, 64)
            .build();
    return glance.generate(request).images().get(1).rgb();
  }

  @Test
  void threadsTakeTurnsToo() throws Exception {
    GlanceOptions options = GlanceOptions.builder().keepResident(false).build();
    List<String> prompts = List.of("red apple", "owl", "panda", "key");
    try (Glance glance = Glance.load(MODEL, options);
        Glance resident = Glance.load(MODEL)) {
      List<CompletableFuture<byte[]>> drawn = new ArrayList<>();
      for (String prompt : prompts) {
        drawn.add(CompletableFuture.supplyAsync(() -> draw(glance, prompt, 2)));
      }
      for (int i = 0; i < prompts.size(); i++) {
        assertArrayEquals(draw(resident, prompts.get(i), 2), drawn.get(i).get());
      }
    }
  }

  @Test
  void takesTurnsByItselfWhereTheWholeDoesNotFit() {
    MemoryNeeds needs = needs();
    long workspace = ImageModels.workspaceBytes(MODEL);
    assertEquals(0, pending(null));
    limit(needs.residentBytes() + workspace);
    assertEquals(0, pending(null));
    limit(needs.residentBytes() + workspace - 1);
    assertTrue(pending(null) > 0);
    assertEquals(0, pending(true));
    limit(needs.turnsBytes() + workspace);
    try (Glance glance = Glance.load(MODEL)) {
      draw(glance, "red apple", 3.5);
    }
  }

  private static long pending(@Nullable Boolean keepResident) {
    try (ImageModel model = ImageModels.open(MODEL, DType.F32, Backend.CPU, keepResident)) {
      return model.pendingBytes();
    }
  }

  private static MemoryNeeds needs() {
    assumeTrue(Backend.AUTO.resolve() != Backend.CUDA, "the figures are the host's");
    MemoryNeeds needs = ImageModels.memory(MODEL, DType.F32, Backend.CPU);
    assumeTrue(needs.turnsBytes() < needs.residentBytes(), "nothing is converted");
    return needs;
  }

  @Test
  void whatDoesNotFitIsRefusedWithFigures() {
    MemoryNeeds needs = needs();
    long short1 = needs.residentBytes() - 1_000_000;
    limit(short1);
    assertRefused(true, needs.residentBytes(), short1, "all of it at once,", "keepResident false");
    long short2 = needs.turnsBytes() - 1_000_000;
    limit(short2);
    for (Boolean keepResident : new Boolean[] {null, false}) {
      assertRefused(keepResident, needs.turnsBytes(), short2, "taking turns,", "load it as bf16");
    }
    assertRefused(true, needs.residentBytes(), short2, "all of it at once,", "keepResident false");
  }

  private static void assertRefused(
      @Nullable Boolean keepResident, long needed, long free, String... parts) {
    GlanceOptions options = GlanceOptions.builder().keepResident(keepResident).build();
    String figures =
        "needs about %s, but only %s are free"
            .formatted(DeviceMemory.text(needed), DeviceMemory.text(free));
    assertError(
        DeviceOutOfMemoryException.class, () -> Glance.load(MODEL, options).close(), figures);
    for (String part : parts) {
      assertError(
          DeviceOutOfMemoryException.class, () -> Glance.load(MODEL, options).close(), part);
    }
  }

  @Test
  void aPictureIsRefusedBeforeItsPartsAreLoaded() {
    MemoryNeeds needs = needs();
    GlanceOptions options = GlanceOptions.builder().keepResident(false).build();
    try (Glance glance = Glance.load(MODEL, options)) {
      limit(needs.partBytes("transformer") + 1000);
      assertError(
          DeviceOutOfMemoryException.class,
          () -> draw(glance, "red apple", 1),
          "a 64x64 picture, with the weights still to be loaded, needs about");
      unlimit();
      draw(glance, "red apple", 1);
    }
  }

  @Test
  void aLimitMustBeANumber() {
    System.setProperty(HostMemory.LIMIT, "2 GB");
    assertError(IllegalArgumentException.class, HostMemory::availableBytes, "\"2 GB\"");
  }
}
