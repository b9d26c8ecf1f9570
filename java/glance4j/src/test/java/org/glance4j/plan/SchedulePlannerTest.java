package org.glance4j.plan;

import static org.glance4j.reference.ErrorAssert.assertError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import javax.imageio.ImageIO;
import org.glance4j.GenerationCancelledException;
import org.glance4j.Glance;
import org.glance4j.ImageRequest;
import org.glance4j.ModelFormatException;
import org.glance4j.evaluate.Prompts;
import org.glance4j.reference.Reference;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.PhaseSigma;
import org.glance4j.schedule.ScheduleSpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SchedulePlannerTest {
  private static final Path TINY =
      Path.of("../glance4j-tiny/src/main/resources/org/glance4j/glance-tiny").toAbsolutePath();
  private static final List<String> HELD_OUT = List.of("owl", "video game", "cherry blossom");
  private static final List<String> PROMPTS = List.of("red apple", "cat face", "office building");
  private static final double CFG = 3.5;

  @TempDir Path folder;

  private static SchedulePlanner.Builder quick(int steps) {
    return SchedulePlanner.builder(TINY).steps(steps).cfg(CFG).prompts(PROMPTS).rounds(2);
  }

  /** The 50-step results of prompts, and how far others are from them, by the public way. */
  private record Goals(Glance glance, List<String> prompts, long seed, List<float[]> ends) {
    static Goals of(Glance glance, List<String> prompts, long seed) {
      Goals goals = new Goals(glance, prompts, seed, new ArrayList<>());
      for (int i = 0; i < prompts.size(); i++) {
        goals.ends().add(goals.latents(i, ScheduleSpec.base(50)));
      }
      return goals;
    }

    /** Root mean square over the prompts. */
    double error(ScheduleSpec spec) {
      double sum = 0;
      for (int i = 0; i < prompts.size(); i++) {
        float[] latents = latents(i, spec);
        double distance = 0;
        double norm = 0;
        for (int j = 0; j < latents.length; j++) {
          distance += Math.pow(latents[j] - ends.get(i)[j], 2);
          norm += Math.pow(ends.get(i)[j], 2);
        }
        sum += distance / norm / prompts.size();
      }
      return Math.sqrt(sum);
    }

    private float[] latents(int prompt, ScheduleSpec spec) {
      ImageRequest.Builder request =
          ImageRequest.builder(prompts.get(prompt)).seed(seed + prompt).schedule(spec);
      if (!spec.toString().contains("cfg")) {
        request.cfg(CFG);
      }
      return glance.generate(request.build()).image().latents().values();
    }
  }

  @Test
  void plansCarryOverToOtherPrompts() {
    try (Glance glance = Glance.load(TINY)) {
      Goals goals = Goals.of(glance, HELD_OUT, 1000);
      for (int steps : new int[] {4, 8, 10}) {
        double planned = goals.error(quick(steps).build().plan().spec());
        double uniform = goals.error(ScheduleSpec.base(steps));
        String what = steps + " steps: planned " + planned + ", uniform " + uniform;
        assertTrue(planned < (steps == 4 ? 0.5 : 0.75) * uniform, what);
        if (steps == 4) {
          double plain = goals.error(quick(steps).plainCfg(true).build().plan().spec());
          assertTrue(planned < 0.85 * plain, what + ", with one guidance " + plain);
        }
        if (steps == 10) {
          double published = goals.error(ScheduleSpec.glance());
          assertTrue(planned < 0.5 * published, what + ", glance " + published);
        }
      }
    }
  }

  @Test
  void errorsAreThoseOfGenerationAndTheLastGuidanceIsTheBest() {
    SchedulePlan plan = quick(3).rounds(0).seed(20).build().plan();
    try (Glance glance = Glance.load(TINY)) {
      Goals goals = Goals.of(glance, PROMPTS, 20);
      assertTrue(plan.hasFittedCfgs(), plan.text());
      assertEquals(goals.error(plan.spec()), plan.error(), 1e-4);
      SchedulePlan.ScheduleError uniform = plan.others().get(0);
      assertEquals(goals.error(ScheduleSpec.base(3)), uniform.error(), 1e-4);
      assertTrue(uniform.fittedError() < 0.7 * uniform.error(), plan.text());
      // Where the steps before it have led, no other guidance of the last step ends closer.
      PhaseSigma last = plan.steps().get(2);
      for (float change : new float[] {-0.2f, 0.2f}) {
        List<PhaseSigma> steps = new ArrayList<>(plan.steps());
        float cfg = Objects.requireNonNull(last.cfg()) + change;
        steps.set(2, new PhaseSigma(last.phase(), last.sigma(), cfg));
        assertTrue(goals.error(ScheduleSpec.custom(steps)) > plan.error(), "change " + change);
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
        List.of("glance-tiny", "64x64", "own cfgs", "cfg 3.5", "from 3", "#   office building")) {
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
    assertFalse(plan.hasFittedCfgs());
    assertEquals(plan.errors().error(), plan.errors().fittedError());
    assertEquals("64x48", plan.inputs().size().toString());
    plan.others().forEach(other -> assertTrue(plan.error() <= other.error(), plan.text()));
  }

  @Test
  void asManyStepsAsTheBaseScheduleAreTheBaseSchedule() {
    SchedulePlan plan = quick(50).prompts(List.of("owl")).build().plan();
    assertEquals(0, plan.error());
    assertEquals(50, plan.steps().size());
    assertFalse(plan.hasFittedCfgs());
    plan.steps().forEach(step -> assertEquals((float) CFG, step.cfg()));
  }

  @Test
  void oneGuidanceIsKeptWhereAsked() {
    SchedulePlan plan = quick(4).plainCfg(true).rounds(1).build().plan();
    assertFalse(plan.hasFittedCfgs());
    plan.others().forEach(other -> assertEquals(other.error(), other.fittedError()));
    assertFalse(plan.text().contains("own cfgs"), plan.text());
    plan.steps().forEach(step -> assertNull(step.cfg()));
    assertTrue(plan.error() < plan.others().get(0).error(), plan.text());
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
