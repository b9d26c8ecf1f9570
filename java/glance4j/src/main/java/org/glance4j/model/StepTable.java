package org.glance4j.model;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.SelectedMix;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.Step;

/**
 * What tells one step of a generation from another, in the device's memory: a step recorded once is
 * then any step, and going to the next one, of the same phase or another, copies some bytes there.
 *
 * <p>Its tensors belong to the scope it is made in. For one thread and stream.
 */
public final class StepTable {
  /** Sigma, the next sigma, the CFG scale: what the update of the latents reads. */
  private static final int SCHEDULE = 3;

  private final List<Phase> phases;
  private final List<AdapterMix> mixes;
  private final int batch;
  private final Tensor rows;
  private final Tensor current;

  /**
   * The table of {@code task}'s steps, where {@code backend} computes. No step is selected yet.
   *
   * @param scale of CFG, for steps without their own
   */
  public StepTable(Backend backend, DenoiseTask task, float scale) {
    this.phases = phases(task.schedule());
    List<Phase> applied = applied(task, phases);
    this.mixes = applied.stream().map(task::adapters).toList();
    this.batch = task.batch();
    int[][] plan = plan(task.schedule(), phases, applied, batch, scale);
    int[] values = Arrays.stream(plan).flatMapToInt(Arrays::stream).toArray();
    try (TensorScope scope = new TensorScope()) {
      Tensor table = torch.tensor(values).to(ScalarType.Int).view(plan.length, -1);
      this.rows = scope.release(backend.place(table));
      this.current = scope.release(rows.select(0, 0).clone());
    }
  }

  /** The phases that have steps, in their own order: what {@link #phaseRows} counts. */
  static List<Phase> phases(Schedule schedule) {
    return Arrays.stream(Phase.values()).filter(schedule::has).toList();
  }

  /** Those of them that apply adapters. */
  private static List<Phase> applied(DenoiseTask task, List<Phase> phases) {
    return phases.stream().filter(phase -> !task.adapters(phase).parts().isEmpty()).toList();
  }

  /**
   * One row a step: the bits of {@value #SCHEDULE} floats; the adapter's index, or -1, once for
   * each adapter there is; for each sample its row of all steps' modulation, and its row of all
   * phases' text.
   */
  static int[][] plan(
      Schedule schedule, List<Phase> phases, List<Phase> applied, int batch, float scale) {
    int[][] plan = new int[schedule.size()][];
    for (int i = 0; i < plan.length; i++) {
      Step step = schedule.steps().get(i);
      int[] row = new int[SCHEDULE + applied.size() + 2 * batch];
      row[0] = Float.floatToIntBits(step.sigma());
      row[1] = Float.floatToIntBits(step.nextSigma());
      row[2] = Float.floatToIntBits(step.cfg(scale));
      int next = SCHEDULE;
      for (int k = 0; k < applied.size(); k++) {
        row[next++] = applied.indexOf(step.phase());
      }
      for (int sample = 0; sample < batch; sample++) {
        row[next + sample] = i * batch + sample;
        row[next + batch + sample] = phases.indexOf(step.phase()) * batch + sample;
      }
      plan[i] = row;
    }
    return plan;
  }

  /** Makes step {@code index} the one that work queued from now on is. */
  public void select(int index) {
    try (PointerScope scope = new PointerScope()) {
      current.copy_(rows.select(0, index));
    }
  }

  /** The phases that have steps, in their own order. */
  public List<Phase> phases() {
    return phases;
  }

  /** Sigma, the next sigma and the CFG scale of the step selected: f32 [3]. */
  public Tensor schedule() {
    return current.narrow(0, 0, SCHEDULE).view(ScalarType.Float);
  }

  /** What the step selected applies. */
  public AdapterChoice adapters() {
    return mixes.isEmpty()
        ? AdapterMix.NONE
        : new SelectedMix(mixes, current.narrow(0, SCHEDULE, mixes.size()));
  }

  /** For each sample its row among all steps' samples, step by step: int32 [batch]. */
  public Tensor stepRows() {
    return current.narrow(0, SCHEDULE + mixes.size(), batch);
  }

  /** For each sample its row among all {@link #phases}' samples, phase by phase: int32 [batch]. */
  public Tensor phaseRows() {
    return current.narrow(0, SCHEDULE + mixes.size() + batch, batch);
  }
}
