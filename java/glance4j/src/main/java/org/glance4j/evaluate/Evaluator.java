package org.glance4j.evaluate;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.glance4j.GeneratedImage;
import org.glance4j.Generation;
import org.glance4j.Glance;
import org.glance4j.ImageRequest;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.PhaseSigma;
import org.glance4j.schedule.ScheduleSpec;
import org.jspecify.annotations.Nullable;

/**
 * Draws the same prompts and seeds with several methods and compares the pictures with the model's
 * own 50-step result.
 *
 * <p>All methods draw a prompt before any of them draws the next, so that other load on the machine
 * meets them alike. A method's time counts neither text encoding, nor what is done once for an
 * adapter: reading its file and packing it for the kernels.
 */
public final class Evaluator {
  private final Glance glance;
  private final EvaluationRequest request;
  private final EvaluationListener listener;
  private final Row reference;
  private final List<Row> rows = new ArrayList<>();
  private final int all;

  private @Nullable Adapters inUse;
  private int done;

  /** What {@link Glance#useAdapters} takes. */
  private record Adapters(@Nullable Path slow, @Nullable Path fast, double scale) {
    static final Adapters NONE = new Adapters(null, null, 1);

    static Adapters of(Method method) {
      return new Adapters(method.slow(), method.fast(), method.scale());
    }
  }

  /** One method's results so far. */
  private static final class Row {
    final Method method;
    final List<PictureResult> pictures = new ArrayList<>();
    final List<GeneratedImage> samples = new ArrayList<>();
    int evaluations;

    Row(Method method) {
      this.method = method;
    }

    MethodResult result() {
      return new MethodResult(method, evaluations, pictures, samples);
    }
  }

  private Evaluator(Glance glance, EvaluationRequest request, EvaluationListener listener) {
    this.glance = glance;
    this.request = request;
    this.listener = listener;
    this.reference = new Row(request.reference());
    request.methods().forEach(method -> rows.add(new Row(method)));
    this.all = (1 + rows.size()) * request.prompts().size() * request.seeds().size();
  }

  /**
   * Compares the methods. All of them, their adapter files included, are checked before anything is
   * drawn.
   *
   * @param glance whose adapters are replaced by the methods'; afterwards it has none
   * @throws IllegalArgumentException if a method does not fit the model
   * @throws org.glance4j.ModelFormatException if an adapter file cannot be used
   * @throws org.glance4j.GenerationCancelledException if {@code glance} is closed during a picture
   * @throws IllegalStateException if {@code glance} is closed before one
   */
  public static Evaluation evaluate(
      Glance glance, EvaluationRequest request, EvaluationListener listener) {
    return new Evaluator(glance, request, listener).run();
  }

  private Evaluation run() {
    for (Row row : rows) {
      check(row.method);
    }
    Machine machine = Machine.of(warmUp(reference.method));
    for (Row row : rows) {
      warmUp(row.method);
    }
    for (String prompt : request.prompts()) {
      List<GeneratedImage> goals = draw(reference, prompt, List.of());
      for (Row row : rows) {
        draw(row, prompt, goals);
      }
    }
    use(Adapters.NONE);
    return new Evaluation(
        request, reference.result(), rows.stream().map(Row::result).toList(), machine);
  }

  private void check(Method method) {
    use(Adapters.of(method));
    try {
      glance.complete(imageRequest(method, request.prompts().get(0), 0));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("method \"" + method.name() + "\": " + e.getMessage(), e);
    }
  }

  /** A first picture is slow: its memory is not there yet, nor is its code compiled. */
  private GeneratedImage warmUp(Method method) {
    makeReady(method);
    return generate(method, request.prompts().get(0), request.seeds().get(0)).image();
  }

  /**
   * Draws a prompt with all seeds.
   *
   * @param goals the reference's pictures by seed; empty for the reference itself
   * @return the pictures by seed
   */
  private List<GeneratedImage> draw(Row row, String prompt, List<GeneratedImage> goals) {
    makeReady(row.method);
    List<GeneratedImage> images = new ArrayList<>();
    for (int i = 0; i < request.seeds().size(); i++) {
      Generation generation = generate(row.method, prompt, request.seeds().get(i));
      GeneratedImage image = generation.image();
      images.add(image);
      row.evaluations = generation.stats().evaluations();
      row.pictures.add(measure(prompt, generation, goals.isEmpty() ? image : goals.get(i)));
      done++;
      listener.onPicture(row.method, row.pictures.get(row.pictures.size() - 1), done, all);
    }
    if (row.samples.size() < request.samples()) {
      row.samples.add(images.get(0));
    }
    return images;
  }

  private PictureResult measure(String prompt, Generation generation, GeneratedImage goal) {
    GeneratedImage image = generation.image();
    PictureSet pictures = request.pictures();
    return new PictureResult(
        prompt,
        image.recipe().request().seed(),
        Similarity.latentError(image.latents(), goal.latents()),
        Similarity.psnr(image, goal),
        Similarity.ssim(image, goal),
        generation.stats().totalSeconds() - generation.stats().textSeconds(),
        pictures == null || !pictures.has(prompt)
            ? null
            : pictures.nearest(image.toBufferedImage()));
  }

  /** Loads and packs the method's adapters, if they are not the last method's. */
  private void makeReady(Method method) {
    if (use(Adapters.of(method)) && !oneStepEach(method).isEmpty()) {
      glance.generate(
          imageRequest(method, request.prompts().get(0), 0).toBuilder()
              .schedule(ScheduleSpec.custom(oneStepEach(method)))
              .build());
    }
  }

  /** The phases that have an adapter. */
  private static List<PhaseSigma> oneStepEach(Method method) {
    List<PhaseSigma> steps = new ArrayList<>();
    if (method.slow() != null) {
      steps.add(new PhaseSigma(Phase.SLOW, 1));
    }
    if (method.fast() != null) {
      steps.add(new PhaseSigma(Phase.FAST, 0.5f));
    }
    return steps;
  }

  private boolean use(Adapters adapters) {
    boolean others = !adapters.equals(inUse);
    if (others) {
      glance.useAdapters(adapters.slow(), adapters.fast(), adapters.scale());
      inUse = adapters;
    }
    return others;
  }

  private Generation generate(Method method, String prompt, long seed) {
    return glance.generate(imageRequest(method, prompt, seed));
  }

  private static ImageRequest imageRequest(Method method, String prompt, long seed) {
    return ImageRequest.builder(prompt)
        .seed(seed)
        .cfg(method.cfg())
        .schedule(method.schedule())
        .build();
  }
}
