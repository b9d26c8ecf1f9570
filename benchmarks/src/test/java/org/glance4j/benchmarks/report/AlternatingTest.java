package org.glance4j.benchmarks.report;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntConsumer;
import org.glance4j.benchmarks.kernel.Contender;
import org.junit.jupiter.api.Test;

class AlternatingTest {
  private static final int ROUNDS = 6;

  /** Moves only when a contender works. */
  private long nanos;

  private final List<Contender> order = new ArrayList<>();
  private final Map<Contender, List<Integer>> turns = new EnumMap<>(Contender.class);
  private final Alternating alternating =
      new Alternating(new Alternating.Plan(ROUNDS, 1, 0), () -> nanos);

  private IntConsumer worker(Contender who, long callNanos) {
    List<Integer> seen = new ArrayList<>();
    turns.put(who, seen);
    return turn -> {
      nanos += callNanos;
      seen.add(turn);
      if (order.isEmpty() || order.get(order.size() - 1) != who) {
        order.add(who);
      }
    };
  }

  private Map<Contender, double[]> measure(long ours, long plain, long unfused) {
    Map<Contender, IntConsumer> contenders = new EnumMap<>(Contender.class);
    contenders.put(Contender.OURS, worker(Contender.OURS, ours));
    contenders.put(Contender.PLAIN, worker(Contender.PLAIN, plain));
    contenders.put(Contender.UNFUSED, worker(Contender.UNFUSED, unfused));
    return alternating.measure(contenders);
  }

  @Test
  void givesTheTimeOfOneCallForEachRound() {
    Map<Contender, double[]> seconds = measure(2_000, 50_000, 40_000_000);
    assertArrayEquals(constant(2e-6), seconds.get(Contender.OURS), 1e-12);
    assertArrayEquals(constant(5e-5), seconds.get(Contender.PLAIN), 1e-12);
    assertArrayEquals(constant(0.04), seconds.get(Contender.UNFUSED), 1e-12);
  }

  @Test
  void batchesOfFastCallsAreLongEnough() {
    measure(2_000, 50_000, 40_000_000);
    // 1 ms a round: 500 calls of 2 us.
    assertTrue(calls(Contender.OURS) >= ROUNDS * 500);
    // A call of 40 ms is a batch, and needs no warming call in every round.
    assertTrue(calls(Contender.UNFUSED) <= ROUNDS + 2);
  }

  @Test
  void contendersAlternateAndTakeTurnsInBeginning() {
    measure(2_000, 2_000, 2_000);
    List<Contender> expected = new ArrayList<>();
    List<Contender> round = new ArrayList<>(List.of(Contender.values()));
    expected.addAll(round); // Finding how many calls make a batch.
    for (int i = 0; i < ROUNDS; i++) {
      expected.addAll(round);
      Collections.rotate(round, -1);
    }
    assertEquals(expected, order);
  }

  @Test
  void turnsCountUpFromZero() {
    measure(2_000, 50_000, 40_000_000);
    turns
        .values()
        .forEach(
            seen -> {
              for (int i = 0; i < seen.size(); i++) {
                assertEquals(i, seen.get(i));
              }
            });
  }

  private int calls(Contender who) {
    return turns.getOrDefault(who, List.of()).size();
  }

  private static double[] constant(double value) {
    double[] values = new double[ROUNDS];
    Arrays.fill(values, value);
    return values;
  }
}
