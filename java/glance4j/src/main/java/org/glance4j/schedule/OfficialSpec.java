package org.glance4j.schedule;

import java.util.ArrayList;
import java.util.List;

/** {@link ScheduleSpec#official()}. */
record OfficialSpec() implements ScheduleSpec {
  static final OfficialSpec INSTANCE = new OfficialSpec();

  private static final GlanceSpec LABELS = new GlanceSpec(5, 5);

  /** The released code lists the timesteps of 1024x1024 and uses them at every size. */
  private static final int LABEL_TOKENS = 64 * 64;

  @Override
  public Schedule resolve(SigmaShift shift, int imageTokens) {
    List<Phase> phases = LABELS.phases();
    float[] labels = LABELS.keptSigmas(shift, LABEL_TOKENS);
    float[] slow = shift.sigmas(GlanceSpec.BASE_STEPS, imageTokens);
    float[] fast = shift.sigmas(LABELS.fastSteps(), imageTokens);
    List<Step> steps = new ArrayList<>();
    for (int i = 0; i < phases.size(); i++) {
      boolean inSlow = i < LABELS.slowSteps();
      float[] walked = inSlow ? slow : fast;
      int at = inSlow ? i : i - LABELS.slowSteps();
      float label = toBfloat16(shift.timestep(labels[i]));
      steps.add(new Step(phases.get(i), label, walked[at], walked[at + 1]));
    }
    return new Schedule(toString(), steps);
  }

  /** The nearest bfloat16, ties to even; for finite values. */
  static float toBfloat16(float value) {
    int bits = Float.floatToRawIntBits(value);
    int half = 0x7fff + ((bits >>> 16) & 1);
    return Float.intBitsToFloat((bits + half) & 0xffff0000);
  }

  @Override
  public String toString() {
    return "official";
  }
}
