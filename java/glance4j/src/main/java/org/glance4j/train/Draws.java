package org.glance4j.train;

import java.util.SplittableRandom;

/**
 * Random numbers by their place rather than in sequence: what a step draws depends on the seed and
 * the step's number only, so that a training that resumes draws what it would have drawn.
 */
final class Draws {
  private static final long GOLDEN_GAMMA = 0x9e3779b97f4a7c15L;

  private Draws() {}

  /** The generator of one place. */
  static SplittableRandom at(long seed, int... place) {
    long mixed = seed;
    for (int part : place) {
      mixed = new SplittableRandom(mixed ^ (part + 1) * GOLDEN_GAMMA).nextLong();
    }
    return new SplittableRandom(mixed);
  }
}
