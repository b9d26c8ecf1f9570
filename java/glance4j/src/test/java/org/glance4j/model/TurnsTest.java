package org.glance4j.model;

import static org.glance4j.reference.ErrorAssert.assertError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeRuntime;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(value = 60, unit = TimeUnit.SECONDS)
class TurnsTest {
  /** What a part opens: knows whether it was closed. */
  private static final class Weights {
    private final AtomicInteger open;
    private final AtomicBoolean closed = new AtomicBoolean();

    Weights(AtomicInteger open) {
      this.open = open;
      open.incrementAndGet();
    }

    void compute() {
      assertFalse(closed.get(), "computes after it was closed");
      assertEquals(1, open.get(), "parts in memory");
    }

    void close() {
      assertTrue(closed.compareAndSet(false, true), "closed twice");
      open.decrementAndGet();
    }
  }

  private final AtomicInteger open = new AtomicInteger();

  @BeforeAll
  static void initialize() {
    NativeRuntime.initialize();
  }

  private Turns.Part<Weights> part(Turns turns, String name, long bytes) {
    return turns.part(name, bytes, () -> new Weights(open), Weights::close);
  }

  @Test
  void residentPartsAreOpenFromTheStartAndTogether() {
    try (Turns turns = new Turns(true, Backend.CPU)) {
      Turns.Part<Weights> text = part(turns, "the text encoder", 7);
      Turns.Part<Weights> transformer = part(turns, "the transformer", 20);
      assertEquals(2, open.get());
      assertEquals(0, turns.pendingBytes());
      try (Turns.Use<Weights> one = text.use();
          Turns.Use<Weights> other = transformer.use()) {
        assertFalse(one.get().closed.get() || other.get().closed.get());
      }
    }
    assertEquals(0, open.get());
  }

  @Test
  void aPartOpensWhenUsedAndClosesTheOther() {
    try (Turns turns = new Turns(false, Backend.CPU)) {
      Turns.Part<Weights> text = part(turns, "the text encoder", 7);
      Turns.Part<Weights> transformer = part(turns, "the transformer", 20);
      assertEquals(0, open.get());
      assertEquals(20, turns.pendingBytes());
      Weights first = text.with(weights -> weights);
      assertTrue(text.isOpen(), "stays open until another is used");
      assertEquals(13, turns.pendingBytes());
      assertTrue(first == text.with(weights -> weights), "is not opened again");
      transformer.with(weights -> weights).compute();
      assertTrue(first.closed.get());
      assertFalse(text.isOpen());
      assertEquals(0, turns.pendingBytes());
      text.ifOpen(weights -> weights.compute());
      assertFalse(text.isOpen(), "ifOpen opens nothing");
      assertFalse(first == text.with(weights -> weights));
    }
    assertEquals(0, open.get());
  }

  @Test
  void aThreadThatWouldWaitForItselfFails() {
    try (Turns turns = new Turns(false, Backend.CPU)) {
      Turns.Part<Weights> text = part(turns, "the text encoder", 1);
      Turns.Part<Weights> transformer = part(turns, "the transformer", 1);
      try (Turns.Use<Weights> one = transformer.use();
          Turns.Use<Weights> two = transformer.use()) {
        one.get().compute();
        assertError(
            IllegalStateException.class,
            text::use,
            "this thread still uses the transformer, which takes turns in memory with the text"
                + " encoder; close its denoiser first");
        two.get().compute();
      }
      text.with(weights -> weights).compute();
    }
  }

  @Test
  void aPartInUseIsWaitedFor() throws Exception {
    try (Turns turns = new Turns(false, Backend.CPU)) {
      Turns.Part<Weights> text = part(turns, "the text encoder", 1);
      Turns.Part<Weights> transformer = part(turns, "the transformer", 1);
      Turns.Use<Weights> use = transformer.use();
      CompletableFuture<Void> other =
          CompletableFuture.runAsync(() -> text.with(weights -> weights).compute());
      assertThrows(TimeoutException.class, () -> other.get(100, TimeUnit.MILLISECONDS));
      use.get().compute();
      // Who comes later for the same part waits behind it, but this thread goes on.
      transformer.with(weights -> weights).compute();
      use.close();
      use.close();
      other.get();
      assertTrue(text.isOpen());
    }
  }

  @Test
  void manyThreadsNeverMeetAClosedPart() throws Exception {
    try (Turns turns = new Turns(false, Backend.CPU)) {
      List<Turns.Part<Weights>> parts =
          List.of(
              part(turns, "the text encoder", 1),
              part(turns, "the transformer", 1),
              part(turns, "a third part", 1));
      List<CompletableFuture<Void>> threads = new ArrayList<>();
      for (int t = 0; t < 6; t++) {
        int first = t;
        threads.add(
            CompletableFuture.runAsync(
                () -> {
                  for (int i = 0; i < 300; i++) {
                    try (Turns.Use<Weights> use = parts.get((first + i) % 3).use()) {
                      use.get().compute();
                      use.get().compute();
                    }
                  }
                },
                task -> new Thread(task, "turn").start()));
      }
      for (CompletableFuture<Void> thread : threads) {
        thread.get();
      }
      assertEquals(1, open.get());
    }
  }

  @Test
  void aPartThatCannotBeOpenedLeavesTheOtherUsable() {
    try (Turns turns = new Turns(false, Backend.CPU)) {
      Turns.Part<Weights> text = part(turns, "the text encoder", 1);
      Turns.Part<Weights> broken =
          turns.part(
              "the transformer",
              1,
              () -> {
                throw new IllegalArgumentException("damaged");
              },
              Weights::close);
      text.with(weights -> weights).compute();
      for (int i = 0; i < 2; i++) {
        assertError(IllegalArgumentException.class, broken::use, "damaged");
        text.with(weights -> weights).compute();
      }
    }
  }

  @Test
  void failsWhenClosed() {
    for (boolean resident : new boolean[] {true, false}) {
      Turns turns = new Turns(resident, Backend.CPU);
      Turns.Part<Weights> text = part(turns, "the text encoder", 1);
      turns.close();
      turns.close();
      assertThrows(IllegalStateException.class, text::use);
    }
    assertEquals(0, open.get());
  }
}
