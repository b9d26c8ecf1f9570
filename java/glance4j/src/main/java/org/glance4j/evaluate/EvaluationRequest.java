package org.glance4j.evaluate;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.glance4j.schedule.ScheduleSpec;
import org.jspecify.annotations.Nullable;

/**
 * What to compare, on what. Immutable.
 *
 * @param methods at least one, with names of their own
 * @param prompts at least one
 * @param seeds of the initial noise, at least one; each method draws each prompt with each seed
 * @param referenceCfg classifier-free guidance of the 50-step result all methods are compared to
 * @param pictures for retrieval of the prompts that have a picture there, at least one; null for no
 *     retrieval
 * @param samples of the first how many prompts pictures are kept, with the first seed
 */
public record EvaluationRequest(
    List<Method> methods,
    List<String> prompts,
    List<Long> seeds,
    double referenceCfg,
    @Nullable PictureSet pictures,
    int samples) {
  /** Steps of the reference. */
  public static final int REFERENCE_STEPS = 50;

  /** The reference's default guidance. */
  public static final double REFERENCE_CFG = 3.5;

  /** The default for {@link #samples()}. */
  public static final int SAMPLES = 10;

  private static final int[] DEFAULT_STEPS = {10, 8, 6, 4, 3, 2};

  /** Copies the lists. */
  public EvaluationRequest {
    methods = List.copyOf(methods);
    prompts = List.copyOf(prompts);
    seeds = List.copyOf(seeds);
    requireSome("methods", methods);
    requireSome("prompts", prompts);
    requireSome("seeds", seeds);
    Set<String> names = new LinkedHashSet<>(Set.of(reference(referenceCfg).name()));
    for (Method method : methods) {
      if (!names.add(method.name())) {
        throw new IllegalArgumentException(
            "two methods are named \"" + method.name() + "\"; rename one");
      }
    }
    if (samples < 0) {
      throw new IllegalArgumentException("samples " + samples + " must be at least 0");
    }
    if (pictures != null) {
      pictures.requireAny(prompts);
    }
  }

  /** The 50-step result that all methods are compared to. */
  public Method reference() {
    return reference(referenceCfg);
  }

  private static Method reference(double cfg) {
    return Method.of("reference", ScheduleSpec.base(REFERENCE_STEPS), cfg);
  }

  /**
   * The methods to begin with: 10, 8, 6, 4, 3 and 2 steps of the base schedule, and Glance's
   * timesteps without adapters.
   */
  public static List<Method> defaultMethods(double cfg) {
    List<Method> methods = new ArrayList<>();
    for (int steps : DEFAULT_STEPS) {
      methods.add(Method.of("base/" + steps, ScheduleSpec.base(steps), cfg));
    }
    methods.add(Method.of("glance, no adapters", ScheduleSpec.glance(), cfg));
    return methods;
  }

  private static void requireSome(String what, List<?> list) {
    if (list.isEmpty()) {
      throw new IllegalArgumentException("there are no " + what + "; give at least 1");
    }
  }
}
