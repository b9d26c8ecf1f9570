package org.glance4j.benchmarks.report;

import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntConsumer;
import java.util.function.LongSupplier;
import org.glance4j.benchmarks.kernel.Place;

/**
 * Times contenders in turns, in one process: a batch of calls of each in every round, so that
 * whatever else the machine does hits all of them. Each round begins with another contender.
 */
public final class Alternating {
  /**
   * How much to measure.
   *
   * @param rounds batches of each contender that count
   * @param batchMillis how long a batch takes at least
   * @param restMillis pause between contenders: idle threads spin for a moment after their work and
   *     would be in the next one's way
   */
  public record Plan(int rounds, double batchMillis, long restMillis) {
    /** For a report. */
    public static final Plan FULL = new Plan(15, 10, 3);

    /** For a look. */
    public static final Plan QUICK = new Plan(7, 5, 3);
  }

  /** A call longer than this needs no other one before it to wake threads and fill caches. */
  private static final long WARM_NANOS = 20_000_000;

  private static final int MAX_CALLS = 100_000;
  private static final int WARM_UP_PASSES = 3;

  private final Plan plan;
  private final LongSupplier clock;

  /** Measures with the system's clock, once the device is done. */
  public Alternating(Plan plan) {
    this(plan, Place::nanoTime);
  }

  Alternating(Plan plan, LongSupplier nanoClock) {
    this.plan = plan;
    this.clock = nanoClock;
  }

  /**
   * Runs the contenders.
   *
   * @param contenders one call each; its argument counts the calls from 0
   * @return seconds of a call, one value for each round
   */
  public <K extends Enum<K>> Map<K, double[]> measure(Map<K, IntConsumer> contenders) {
    Map<K, Lane> lanes = new EnumMap<>(contenders.keySet().iterator().next().getDeclaringClass());
    contenders.forEach((key, call) -> lanes.put(key, new Lane(call)));
    lanes.values().forEach(Lane::calibrate);
    List<Lane> order = new ArrayList<>(lanes.values());
    for (int round = 0; round < plan.rounds(); round++) {
      for (Lane lane : order) {
        if (order.size() > 1) {
          rest();
        }
        lane.measure(round);
      }
      Collections.rotate(order, -1);
    }
    Map<K, double[]> seconds = new EnumMap<>(lanes.keySet().iterator().next().getDeclaringClass());
    lanes.forEach((key, lane) -> seconds.put(key, lane.seconds));
    return seconds;
  }

  private void rest() {
    try {
      Thread.sleep(plan.restMillis());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted", e);
    }
  }

  /** One contender. */
  private final class Lane {
    final IntConsumer call;
    final double[] seconds = new double[plan.rounds()];
    int turn;
    int calls = 1;
    long callNanos;

    Lane(IntConsumer call) {
      this.call = call;
    }

    /** Finds how many calls make a batch, again when the first ones have warmed up. */
    void calibrate() {
      run(1);
      for (int pass = 0; pass < WARM_UP_PASSES && callNanos < WARM_NANOS; pass++) {
        calls = 1;
        fillBatch();
      }
    }

    private void fillBatch() {
      for (; ; ) {
        long nanos = run(calls);
        callNanos = nanos / calls;
        if (nanos >= plan.batchMillis() * 1e6 || calls == MAX_CALLS) {
          return;
        }
        double wanted = calls * plan.batchMillis() * 1.1e6 / Math.max(nanos, 1);
        calls = (int) Math.min(MAX_CALLS, Math.max(2.0 * calls, Math.ceil(wanted)));
      }
    }

    void measure(int round) {
      if (callNanos < WARM_NANOS) {
        run(Math.max(1, calls / 4));
      }
      seconds[round] = run(calls) / 1e9 / calls;
    }

    long run(int count) {
      long start = clock.getAsLong();
      for (int i = 0; i < count; i++) {
        call.accept(turn);
        turn = (turn + 1) & Integer.MAX_VALUE;
      }
      return clock.getAsLong() - start;
    }
  }
}
