package org.glance4j.benchmarks;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.glance4j.Glance;
import org.glance4j.GlanceOptions;
import org.glance4j.ImageRequest;
import org.glance4j.schedule.ScheduleSpec;

/**
 * The bundled model's default beside its 50 steps with CFG 3.5, whole generations in turns by one
 * {@link Glance}, and the ratio of the medians. Before them {@value #WARM_UP} pictures of each are
 * drawn, the base's in few steps, until the JVM has compiled what they run.
 *
 * <p>Arguments: THREADS TURNS, and "known" to draw eight prompts again and again, which stay
 * encoded, in place of a new one each turn.
 */
public final class StepsComparison {
  private static final List<String> PROMPTS =
      List.of("red apple", "owl", "panda", "key", "sunflower", "rocket", "green book", "cat");
  private static final int STEPS = 50;
  private static final double CFG = 3.5;
  private static final int WARM_UP = 300;
  private static final int WARM_UP_STEPS = 5;

  private StepsComparison() {}

  /** Measures and prints one line. */
  public static void main(String[] arguments) {
    int threads = Integer.parseInt(arguments[0]);
    int turns = Integer.parseInt(arguments[1]);
    boolean known = arguments.length > 2;
    GlanceOptions options = GlanceOptions.builder().threads(threads).build();
    List<Double> few = new ArrayList<>();
    List<Double> many = new ArrayList<>();
    try (Glance glance = Glance.loadBundled(options)) {
      for (int turn = -WARM_UP; turn < turns; turn++) {
        int steps = turn < 0 ? WARM_UP_STEPS : STEPS;
        double fifty =
            millis(
                glance,
                request(2 * turn + 1, known).cfg(CFG).schedule(ScheduleSpec.base(steps)).build());
        double ten = millis(glance, request(2 * turn, known).build());
        if (turn >= 0) {
          few.add(ten);
          many.add(fifty);
        }
      }
    }
    System.out.printf(
        Locale.ROOT,
        "%d threads, %s prompts, medians: default %.1f ms, 50 steps %.1f ms, ratio %.2f%n",
        threads,
        known ? "known" : "new",
        median(few),
        median(many),
        median(many) / median(few));
  }

  private static ImageRequest.Builder request(int number, boolean known) {
    String prompt = PROMPTS.get(Math.floorMod(number, PROMPTS.size()));
    return ImageRequest.builder(known ? prompt : prompt + " " + number).seed(number);
  }

  private static double millis(Glance glance, ImageRequest request) {
    long begin = System.nanoTime();
    glance.generate(request);
    return (System.nanoTime() - begin) / 1e6;
  }

  private static double median(List<Double> values) {
    return values.stream().sorted().skip(values.size() / 2).findFirst().orElseThrow();
  }
}
