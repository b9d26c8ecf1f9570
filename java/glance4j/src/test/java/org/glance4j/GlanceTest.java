package org.glance4j;

import static org.glance4j.reference.ErrorAssert.assertError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.glance4j.cuda.CudaDevice;
import org.glance4j.schedule.ScheduleSpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(value = 60, unit = TimeUnit.SECONDS)
class GlanceTest {
  private static ImageRequest.Builder request() {
    return ImageRequest.builder("red apple").schedule(ScheduleSpec.base(4));
  }

  @Test
  void sameRequestGivesSameBits() {
    byte[] first;
    try (Glance glance = Glance.load(TestModels.TINY)) {
      first = glance.generate(request().cfg(3.5).build()).image().rgb();
      glance.generate(request().seed(1).build());
      assertArrayEquals(first, glance.generate(request().cfg(3.5).build()).image().rgb());
    }
    try (Glance glance = Glance.load(TestModels.TINY)) {
      assertArrayEquals(first, glance.generate(request().cfg(3.5).build()).image().rgb());
    }
  }

  @Test
  void imageOfSeveralEqualsItsOwnSeedAlone() {
    try (Glance glance = Glance.load(TestModels.TINY)) {
      Generation three = glance.generate(request().seed(5).imageCount(3).build());
      assertEquals(3, three.images().size());
      assertEquals(12, three.stats().evaluations());
      GeneratedImage last = three.images().get(2);
      assertEquals(7, last.recipe().request().seed());
      assertArrayEquals(glance.generate(request().seed(7).build()).image().rgb(), last.rgb());
    }
  }

  @Test
  void latentsGivenAreTheNoiseOfTheSeed() {
    try (Glance glance = Glance.load(TestModels.TINY)) {
      List<Latents> steps = new ArrayList<>();
      GeneratedImage whole =
          glance.generate(request().listener(e -> steps.add(e.latents())).build()).image();
      assertArrayEquals(steps.get(3).values(), whole.latents().values());
      GeneratedImage fromLatents =
          glance.generate(request().initialLatents(whole.latents()).build()).image();
      assertTrue(fromLatents.recipe().customLatents());
      assertFalse(whole.recipe().customLatents());
    }
  }

  @Test
  void listenerSeesEachStepAndPreviews() {
    try (Glance glance = Glance.load(TestModels.TINY)) {
      List<StepEvent> events = new ArrayList<>();
      AtomicInteger previewWidth = new AtomicInteger();
      ImageRequest request =
          request()
              .schedule(ScheduleSpec.glance())
              .listener(
                  event -> {
                    events.add(event);
                    previewWidth.set(event.preview().getWidth());
                  })
              .build();
      GeneratedImage image = glance.generate(request).image();
      assertEquals(10, events.size());
      assertEquals(image.width(), previewWidth.get());
      assertEquals(9, events.get(9).index());
      assertEquals(0, events.get(9).step().nextSigma());
    }
  }

  @Test
  void cancelStopsAtTheNextStep() throws Exception {
    try (Glance glance = Glance.load(TestModels.TINY)) {
      CountDownLatch started = new CountDownLatch(1);
      CountDownLatch cancelled = new CountDownLatch(1);
      AtomicInteger steps = new AtomicInteger();
      CompletableFuture<Generation> future =
          glance.generateAsync(
              request()
                  .schedule(ScheduleSpec.base(1000))
                  .listener(
                      event -> {
                        steps.incrementAndGet();
                        started.countDown();
                        awaitQuietly(cancelled);
                      })
                  .build());
      started.await();
      assertTrue(future.cancel(true));
      cancelled.countDown();
      assertThrows(CancellationException.class, future::get);
      // The turn comes only after the cancelled work has ended.
      glance.generate(request().build());
      assertEquals(1, steps.get());
    }
  }

  @Test
  void asyncGivesTheSamePicture() throws Exception {
    try (Glance glance = Glance.load(TestModels.TINY)) {
      assertArrayEquals(
          glance.generate(request().build()).image().rgb(),
          glance.generateAsync(request().build()).get().image().rgb());
    }
  }

  @Test
  void closeStopsWorkUnderWayAndLaterCallsFail() throws Exception {
    Glance glance = Glance.load(TestModels.TINY);
    CompletableFuture<Generation> future = startLongGeneration(glance);
    glance.close();
    glance.close();
    assertCancelled(future);
    assertThrows(IllegalStateException.class, () -> glance.generate(request().build()));
    assertThrows(IllegalStateException.class, () -> glance.generateAsync(request().build()));
  }

  @Test
  void closeCancelsWhatIsQueuedToo() throws Exception {
    Glance glance = Glance.load(TestModels.TINY);
    CompletableFuture<Generation> running = startLongGeneration(glance);
    CompletableFuture<Generation> queued = glance.generateAsync(request().build());
    glance.close();
    assertCancelled(running);
    assertCancelled(queued);
  }

  @Test
  void timedOutFutureStopsItsWork() {
    try (Glance glance = Glance.load(TestModels.TINY)) {
      AtomicInteger steps = new AtomicInteger();
      CompletableFuture<Generation> future =
          glance.generateAsync(
              request()
                  .schedule(ScheduleSpec.base(1000))
                  .listener(
                      event -> {
                        if (steps.incrementAndGet() == 1) {
                          event.preview();
                        }
                      })
                  .build());
      assertThrows(
          ExecutionException.class, () -> future.orTimeout(100, TimeUnit.MILLISECONDS).get());
      glance.generate(request().build());
      assertTrue(steps.get() < 1000, steps + " steps");
    }
  }

  @Test
  void closeFromAListenerEndsCleanly() {
    Glance glance = Glance.load(TestModels.TINY);
    ImageRequest request = request().listener(event -> glance.close()).build();
    assertThrows(GenerationCancelledException.class, () -> glance.generate(request));
    assertThrows(IllegalStateException.class, () -> glance.generate(request().build()));
  }

  @Test
  void concurrentCallsTakeTurns() throws Exception {
    try (Glance glance = Glance.load(TestModels.TINY)) {
      byte[] expected = glance.generate(request().build()).image().rgb();
      List<CompletableFuture<byte[]>> all = new ArrayList<>();
      for (int i = 0; i < 6; i++) {
        all.add(
            CompletableFuture.supplyAsync(() -> glance.generate(request().build()).image().rgb()));
      }
      for (CompletableFuture<byte[]> one : all) {
        assertArrayEquals(expected, one.get());
      }
    }
  }

  @Test
  void refusesWhatDoesNotFit() {
    try (Glance glance = Glance.load(TestModels.TINY)) {
      assertSays(glance, request().height(1000), "height 1000 must be a multiple of 16");
      assertSays(glance, request().height(1000), "992 or 1008");
      assertSays(glance, request().negativePrompt("x"), "set cfg above 1");
      assertSays(glance, request().width(-16), "width -16");
      assertSays(glance, request().maxTextTokens(0), "0");
      assertSays(glance, request().maxTextTokens(513), "513");
      assertSays(glance, request().initialLatents(new Latents(1, 2, new float[2])), "16 of 64");
    }
    assertThrows(IllegalArgumentException.class, () -> request().cfg(Double.NaN).build());
    assertThrows(IllegalArgumentException.class, () -> request().imageCount(0).build());
    assertThrows(
        IllegalArgumentException.class, () -> request().cfg(1.0).negativePrompt("x").build());
  }

  @Test
  void tooLargeForTheMemorySaysSo() {
    HostMemory.require("it", 1_000, OptionalLong.of(1_000), "fix");
    HostMemory.require("it", Long.MAX_VALUE, OptionalLong.empty(), "fix");
    assertError(
        DeviceOutOfMemoryException.class,
        () -> HostMemory.require("it", 3_000_000_000L, OptionalLong.of(2_000_000_000L), "fix"),
        "it needs about 3.0 GB, but only 2.0 GB are free; fix");
    CudaDevice device = new CudaDevice(1, "Test GPU", 9, 0, 80_000_000_000L, 2_000_000_000L);
    DeviceMemory.require(device, "it", 2_000_000_000L, "fix");
    assertError(
        DeviceOutOfMemoryException.class,
        () -> DeviceMemory.require(device, "it", 3_000_000_000L, "fix"),
        "it needs about 3.0 GB, but only 2.0 GB of 80.0 GB are free on CUDA device 1, Test GPU; fix");
  }

  @Test
  void aRecentReadingOfTheMemoryHidesNoLimit() {
    HostMemory.require("it", 1_000, "fix");
    HostMemory.require("it", 1_000, "fix");
    System.setProperty(HostMemory.LIMIT, "2000000000");
    try {
      HostMemory.require("it", 1_000, "fix");
      assertError(
          DeviceOutOfMemoryException.class,
          () -> HostMemory.require("it", 3_000_000_000L, "fix"),
          "it needs about 3.0 GB, but only 2.0 GB are free; fix");
    } finally {
      System.clearProperty(HostMemory.LIMIT);
    }
  }

  @Test
  void emptyAndHugePromptsAreFine() {
    try (Glance glance = Glance.load(TestModels.TINY)) {
      for (String prompt : List.of("", " ", "apple ".repeat(2000), "\u0000\ud83c")) {
        ImageRequest request = ImageRequest.builder(prompt).schedule(ScheduleSpec.base(1)).build();
        assertEquals(prompt, glance.generate(request).image().recipe().request().prompt());
      }
    }
  }

  /** A generation that has done its first step of many. */
  private static CompletableFuture<Generation> startLongGeneration(Glance glance)
      throws InterruptedException {
    CountDownLatch started = new CountDownLatch(1);
    ImageRequest request =
        request().schedule(ScheduleSpec.base(1000)).listener(event -> started.countDown()).build();
    CompletableFuture<Generation> future = glance.generateAsync(request);
    started.await();
    return future;
  }

  private static void assertCancelled(CompletableFuture<Generation> future) {
    ExecutionException error = assertThrows(ExecutionException.class, future::get);
    assertInstanceOf(GenerationCancelledException.class, error.getCause());
  }

  private static void assertSays(Glance glance, ImageRequest.Builder request, String text) {
    assertError(IllegalArgumentException.class, () -> glance.generate(request.build()), text);
  }

  private static void awaitQuietly(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
