package org.glance4j.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;

import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraPair;
import org.glance4j.lora.SelectedMix;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.Step;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class StepTableTest {
  private static final Schedule SCHEDULE =
      new Schedule(
          "test",
          List.of(
              new Step(Phase.BASE, 1000, 1, 0.875f),
              new Step(Phase.SLOW, 875, 0.875f, 0.5f),
              new Step(Phase.FAST, 500, 0.5f, 0.25f),
              new Step(Phase.FAST, 250, 0.25f, 0)));

  private record Text(String name) implements Conditioning {
    @Override
    public String truncation() {
      return name;
    }

    @Override
    public void close() {}
  }

  @BeforeAll
  static void initialize() {
    NativeRuntime.initialize();
  }

  private static AdapterMix mix(String name) {
    return AdapterMix.of(
        new LoraAdapter(name, Map.of("a", new LoraPair(torch.randn(2, 4), torch.randn(3, 2), 1))));
  }

  private static DenoiseTask task(boolean cfg, Map<Phase, AdapterMix> adapters) {
    return new DenoiseTask(
        new Text("prompt"),
        cfg ? new Text("negative") : null,
        new ImageSize(64, 64),
        3.5,
        SCHEDULE,
        adapters);
  }

  private static int[] values(Tensor tensor) {
    int[] values = new int[Math.toIntExact(tensor.numel())];
    new IntPointer(tensor.contiguous().data_ptr()).get(values);
    return values;
  }

  @Test
  void everyStepFindsItsNumbersAdapterAndRows() {
    List<Phase> phases = StepTable.phases(SCHEDULE);
    assertEquals(List.of(Phase.BASE, Phase.SLOW, Phase.FAST), phases);
    int[][] plan = StepTable.plan(SCHEDULE, phases, List.of(Phase.SLOW, Phase.FAST), 2, 3.5f);
    int cfg = Float.floatToIntBits(3.5f);
    int one = Float.floatToIntBits(1);
    int first = Float.floatToIntBits(0.875f);
    int second = Float.floatToIntBits(0.5f);
    int third = Float.floatToIntBits(0.25f);
    assertArrayEquals(new int[] {one, first, cfg, -1, -1, 0, 1, 0, 1}, plan[0]);
    assertArrayEquals(new int[] {first, second, cfg, 0, 0, 2, 3, 2, 3}, plan[1]);
    assertArrayEquals(new int[] {second, third, cfg, 1, 1, 4, 5, 4, 5}, plan[2]);
    assertArrayEquals(new int[] {third, 0, cfg, 1, 1, 6, 7, 4, 5}, plan[3]);
  }

  @Test
  void viewsFollowTheStepSelected() {
    try (PointerScope scope = new PointerScope()) {
      Map<Phase, AdapterMix> mixes = Map.of(Phase.SLOW, mix("slow"), Phase.FAST, mix("fast"));
      StepTable table = new StepTable(Backend.CPU, task(false, mixes), 1);
      Tensor schedule = table.schedule();
      SelectedMix adapters = assertInstanceOf(SelectedMix.class, table.adapters());
      Tensor stepRows = table.stepRows();
      Tensor phaseRows = table.phaseRows();
      assertEquals(List.of(mixes.get(Phase.SLOW), mixes.get(Phase.FAST)), adapters.mixes());
      int[] selected = {-1, 0, 1, 1};
      int[] texts = {0, 1, 2, 2};
      for (int i : new int[] {3, 0, 2, 1}) {
        table.select(i);
        Step step = SCHEDULE.steps().get(i);
        assertEquals(step.sigma(), schedule.select(0, 0).item_float());
        assertEquals(step.nextSigma(), schedule.select(0, 1).item_float());
        assertEquals(1, schedule.select(0, 2).item_float());
        assertArrayEquals(new int[] {selected[i], selected[i]}, values(adapters.selection()));
        assertArrayEquals(new int[] {i}, values(stepRows));
        assertArrayEquals(new int[] {texts[i]}, values(phaseRows));
      }
    }
  }

  @Test
  void withoutAdaptersThereIsNothingToSelect() {
    try (PointerScope scope = new PointerScope()) {
      StepTable table = new StepTable(Backend.CPU, task(true, Map.of()), 3.5f);
      assertEquals(AdapterMix.NONE, table.adapters());
      table.select(3);
      assertArrayEquals(new int[] {6, 7}, values(table.stepRows()));
    }
  }
}
