package org.glance4j.plan;

import java.util.Arrays;

/**
 * The numbers of a schedule that a plan chooses.
 *
 * @param sigmas n + 1 of them, decreasing, the last one 0
 * @param cfgs the classifier-free guidance of each of the n steps; 1 is off
 */
@SuppressWarnings("ArrayRecordComponent") // Never compared.
record GuidedSigmas(float[] sigmas, float[] cfgs) {
  /** Sigmas with one guidance for all steps. */
  static GuidedSigmas with(float cfg, float[] sigmas) {
    float[] cfgs = new float[sigmas.length - 1];
    Arrays.fill(cfgs, cfg);
    return new GuidedSigmas(sigmas, cfgs);
  }

  int steps() {
    return cfgs.length;
  }

  /** False where two sigmas have fallen together or a number is none. */
  boolean isSchedule() {
    for (int i = 0; i < cfgs.length; i++) {
      if (!(sigmas[i + 1] < sigmas[i] && cfgs[i] >= 1 && Float.isFinite(cfgs[i]))) {
        return false;
      }
    }
    return true;
  }
}
