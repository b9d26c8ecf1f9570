package org.glance4j;

import static org.glance4j.reference.ErrorAssert.assertError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.glance4j.kernel.Backend;
import org.glance4j.schedule.ScheduleSpec;
import org.glance4j.weights.ProcessMemory;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

@Timeout(value = 300, unit = TimeUnit.SECONDS)
class UseAdaptersTest {
  private static final ScheduleSpec TWO_STEPS = ScheduleSpec.parse("custom:[slow 1.0, fast 0.6]");

  @TempDir Path folder;
  private Path slow;
  private Path fast;

  @BeforeEach
  void write() {
    slow = TinyAdapters.write(folder.resolve("slow.safetensors"), 1);
    fast = TinyAdapters.write(folder.resolve("fast.safetensors"), 2);
  }

  @ParameterizedTest
  @MethodSource("org.glance4j.kernel.TestBackends#all")
  void swappedAdaptersDrawAsThoseLoadedAfresh(Backend backend) {
    GlanceOptions none = GlanceOptions.builder().backend(backend).preset("none").build();
    GlanceOptions both = none.toBuilder().slowLora(slow).fastLora(fast).loraScale(0.5).build();
    byte[] plain = draw(none);
    byte[] adapted = draw(both);
    assertFalse(Arrays.equals(plain, adapted));
    try (Glance glance = Glance.load(TestModels.TINY, none)) {
      glance.useAdapters(/* slow= */ fast, /* fast= */ slow, 2);
      assertFalse(Arrays.equals(adapted, draw(glance).rgb()));
      glance.useAdapters(slow, fast, 0.5);
      GeneratedImage image = draw(glance);
      assertArrayEquals(adapted, image.rgb());
      assertEquals(both, image.recipe().options());
      assertEquals(
          ScheduleSpec.glance(),
          glance.complete(ImageRequest.builder("").build()).schedule(),
          "the default of a model with adapters");
      glance.useAdapters(null, null, 1);
      assertArrayEquals(plain, draw(glance).rgb());
    }
  }

  @Test
  void whatCannotBeUsedLeavesTheOldOnes() {
    Path other = TinyAdapters.writeForAnotherModel(folder.resolve("other.safetensors"));
    try (Glance glance = Glance.load(TestModels.TINY)) {
      glance.useAdapters(slow, fast, 1);
      GeneratedImage before = draw(glance);
      assertRefused(glance, slow, folder.resolve("missing.safetensors"), "missing.safetensors");
      assertRefused(glance, other, null, "other.safetensors");
      assertThrows(
          IllegalArgumentException.class, () -> glance.useAdapters(slow, fast, Double.NaN));
      GeneratedImage after = draw(glance);
      assertArrayEquals(before.rgb(), after.rgb());
      assertEquals(before.recipe().options(), after.recipe().options());
    }
  }

  @Test
  void memoryStaysFlatOverManySwaps() {
    try (Glance glance = Glance.load(TestModels.TINY)) {
      swap(glance, 20);
      long before = ProcessMemory.residentBytes();
      swap(glance, 200);
      long grown = ProcessMemory.residentBytes() - before;
      // 200 swaps read 120 MB and pack as much again; what the collector frees late shows too.
      assertTrue(grown < 16L << 20, "grew by " + grown + " bytes");
    }
  }

  @Test
  void takesItsTurn() throws Exception {
    try (Glance glance = Glance.load(TestModels.TINY)) {
      CountDownLatch started = new CountDownLatch(1);
      CountDownLatch go = new CountDownLatch(1);
      ImageRequest slowly =
          ImageRequest.builder("panda")
              .schedule(ScheduleSpec.base(2))
              .listener(
                  event -> {
                    assertError(
                        IllegalStateException.class,
                        () -> glance.useAdapters(slow, fast, 1),
                        "listener");
                    started.countDown();
                    awaitQuietly(go);
                  })
              .build();
      CompletableFuture<Generation> running = glance.generateAsync(slowly);
      started.await();
      CompletableFuture<Void> swapped =
          CompletableFuture.runAsync(() -> glance.useAdapters(slow, fast, 1));
      assertThrows(TimeoutException.class, () -> swapped.get(100, TimeUnit.MILLISECONDS));
      go.countDown();
      assertNull(running.get().image().recipe().options().slowLora());
      swapped.get();
      assertEquals(slow, draw(glance).recipe().options().slowLora());
    }
  }

  @Test
  void failsWhenClosed() {
    Glance glance = Glance.load(TestModels.TINY);
    glance.close();
    assertThrows(IllegalStateException.class, () -> glance.useAdapters(slow, fast, 1));
  }

  private void swap(Glance glance, int times) {
    for (int i = 0; i < times; i++) {
      glance.useAdapters(i % 2 == 0 ? slow : fast, i % 2 == 0 ? fast : slow, 1);
      glance.generate(request().size(16, 16).build());
    }
  }

  private static void assertRefused(
      Glance glance, @Nullable Path slow, @Nullable Path fast, String text) {
    assertError(ModelFormatException.class, () -> glance.useAdapters(slow, fast, 1), text);
  }

  private static byte[] draw(GlanceOptions options) {
    try (Glance glance = Glance.load(TestModels.TINY, options)) {
      return draw(glance).rgb();
    }
  }

  private static GeneratedImage draw(Glance glance) {
    return glance.generate(request().build()).image();
  }

  private static ImageRequest.Builder request() {
    return ImageRequest.builder("panda").schedule(TWO_STEPS);
  }

  private static void awaitQuietly(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
