package org.glance4j.plan;

import static org.glance4j.reference.ErrorAssert.assertError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import javax.imageio.ImageIO;
import org.glance4j.GenerationCancelledException;
import org.glance4j.Glance;
import org.glance4j.ImageRequest;
import org.glance4j.ModelFormatException;
import org.glance4j.evaluate.Prompts;
import org.glance4j.reference.Reference;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.ScheduleSpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SchedulePlannerTest {
  private static final Path TINY =
      Path.of("../glance4j-tiny/src/main/resources/org/glance4j/glance-tiny").toAbsolutePath();
  private static final List<String> HELD_OUT = List.of("owl", "video game", "cherry blossom");
  private static final double CFG = 3.5;

  @TempDir Path folder;

  private static SchedulePlanner.Builder quick(int steps) {
    return SchedulePlanner.builder(TINY)
        .steps(steps)
        .cfg(CFG)
        .prompts(List.of("red apple", "cat face", "office building"))
        .rounds(2);
  }

  /** Root mean square over prompts that no plan has seen, by the public way. */
  private static double heldOutError(Glance glance, ScheduleSpec spec, List<float[]> goals) {
    double sum = 0;
    for (int i = 0; i < HELD_OUT.size(); i++) {
      float[] latents = latents(glance, i, spec);
      double distance = 0;
      double norm = 0;
      for (int j = 0; j < latents.length; j++) {
        distance += Math.pow(latents[j] - goals.get(i)[j], 2);
        norm += Math.pow(goals.get(i)[j], 2);
      }
      sum += distance / norm / HELD_OUT.size();
    }
    return Math.sqrt(sum);
  }

  private static float[] latents(Glance glance, int prompt, ScheduleSpec spec) {
    ImageRequest request =
        ImageRequest.builder(HELD_OUT.get(prompt))
            .cfg(CFG)
            .seed(1000 + prompt)
            .schedule(spec)
            .build();
    return glance.generate(request).image().latents().values();
  }

  @Test
  void plansCarryOverToOtherPrompts() {
    try (Glance glance = Glance.load(TINY)) {
      List<float[]> goals = new ArrayList<>();
      for (int i = 0; i < HELD_OUT.size(); i++) {
        goals.add(latents(glance, i, ScheduleSpec.base(50)));
      }
      for (int steps : new int[] {4, 8, 10}) {
        SchedulePlan plan = quick(steps).build().plan();
        double planned = heldOutError(glance, plan.spec(), goals);
        double uniform = heldOutError(glance, ScheduleSpec.base(steps), goals);
        String what = steps + " steps: planned " + planned + ", uniform " + uniform;
        assertTrue(planned < 0.75 * uniform, what);
        if (steps == 10) {
          double published = heldOutError(glance, ScheduleSpec.glance(), goals);
          assertTrue(planned < 0.5 * published, what + ", glance " + published);
        }
      }
    }
  }

  @Test
  void aPlanSaysWhatItRestsOn() throws IOException {
    List<String> activities = new ArrayList<>();
    PlanListener listener = (activity, done, total) -> activities.add(activity + done + total);
    SchedulePlanner planner = quick(8).rounds(0).seed(3).listener(listener).build();
    SchedulePlan plan = planner.plan();
    assertTrue(activities.contains("walking 50 steps33"), activities.toString());
    assertEquals(
        List.of("base-8", "glance-3-5"),
        plan.others().stream().map(SchedulePlan.ScheduleError::schedule).toList());
    plan.others().forEach(other -> assertTrue(plan.error() <= other.error(), plan.text()));
    assertEquals(8, plan.steps().size());
    assertEquals(1, plan.steps().get(0).sigma());
    assertEquals(0, plan.nextSigma(7));
    assertEquals(Phase.SLOW, plan.steps().get(0).phase());
    assertEquals(Phase.FAST, plan.steps().get(7).phase());
    assertEquals(49, plan.curvature().values().size());
    Path file = folder.resolve("schedule.txt");
    plan.write(file);
    assertEquals(plan.spec(), ScheduleSpec.read(file));
    String text = Files.readString(file);
    for (String part :
        List.of("glance-tiny", "64x64", "cfg 3.5", "from 3", "#   office building")) {
      assertTrue(text.contains(part), text);
    }
    plan.writeChart(folder.resolve("plan.png"));
    assertTrue(ImageIO.read(folder.resolve("plan.png").toFile()).getWidth() > 100);
    assertEquals(text, planner.plan().text());
  }

  @Test
  void plansWithoutCfgForAnotherModelAndSize() {
    SchedulePlan plan =
        SchedulePlanner.builder(Reference.path("flux-tiny-random"))
            .steps(3)
            .prompts(List.of("a fox", "a boat"))
            .width(64)
            .height(48)
            .rounds(1)
            .build()
            .plan();
    assertEquals(3, plan.steps().size());
    assertEquals("64x48", plan.inputs().size().toString());
    plan.others().forEach(other -> assertTrue(plan.error() <= other.error(), plan.text()));
  }

  @Test
  void asManyStepsAsTheBaseScheduleAreTheBaseSchedule() {
    SchedulePlan plan = quick(50).prompts(List.of("owl")).build().plan();
    assertEquals(0, plan.error());
    assertEquals(50, plan.steps().size());
  }

  @Test
  void cancellingStopsBeforeTheNextStep() {
    AtomicInteger asked = new AtomicInteger();
    SchedulePlanner planner = quick(4).cancelWhen(() -> asked.incrementAndGet() > 20).build();
    assertError(GenerationCancelledException.class, planner::plan, "cancelled");
    assertEquals(21, asked.get());
  }

  @Test
  void plansAreNotMadeOnWhatTheyAreJudgedOn() {
    List<String> judges = Prompts.of(TINY).orElseThrow();
    assertTrue(judges.size() > 10);
    for (String prompt : PlanningPrompts.GENERAL) {
      assertFalse(judges.contains(prompt), prompt);
    }
  }

  @Test
  void refusesWhatCannotBePlanned() {
    Class<IllegalArgumentException> bad = IllegalArgumentException.class;
    assertError(bad, () -> quick(1).build(), "steps 1", "2 to 50");
    assertError(bad, () -> quick(51).build(), "steps 51", "2 to 50");
    assertError(bad, () -> quick(4).cfg(0.5).build(), "cfg 0.5");
    assertError(bad, () -> quick(4).cfg(Double.NaN).build(), "cfg NaN");
    assertError(bad, () -> quick(4).guidance(-1).build(), "guidance -1");
    assertError(bad, () -> quick(4).rounds(-1).build(), "rounds -1");
    assertError(bad, () -> quick(4).prompts(List.of()).build(), "no prompts");
    assertError(bad, () -> quick(4).width(100).build().plan(), "width 100", "96 or 112");
    SchedulePlanner lost = SchedulePlanner.builder(folder.resolve("none")).build();
    assertError(ModelFormatException.class, lost::plan, "none");
    SchedulePlan plan = quick(2).prompts(List.of("owl")).rounds(0).build().plan();
    assertError(IOException.class, () -> plan.write(folder), "is a folder");
    assertError(IOException.class, () -> plan.write(folder.resolve("a/b")), "mkdir");
  }
}
