package org.glance4j.benchmarks.report;

import java.util.EnumMap;
import java.util.Map;
import java.util.function.IntConsumer;
import org.glance4j.DType;
import org.glance4j.Glance;
import org.glance4j.GlanceOptions;
import org.glance4j.ImageRequest;
import org.glance4j.benchmarks.Prompts;
import org.glance4j.kernel.Backend;
import org.glance4j.schedule.ScheduleSpec;

/**
 * Whole generations on the bundled model, prompt to pixels, on one backend and another; pictures
 * are compared before anything is timed.
 */
public final class GenerateComparison implements AutoCloseable {
  /** How the model is loaded. */
  public enum Setting {
    TORCH_F32(Backend.TORCH, DType.F32),
    OURS_F32(Backend.CPU, DType.F32),
    OURS_BF16(Backend.CPU, DType.BF16);

    private final Backend backend;
    private final DType dtype;

    Setting(Backend backend, DType dtype) {
      this.backend = backend;
      this.dtype = dtype;
    }
  }

  /**
   * What came of it.
   *
   * @param levels the worst difference of a channel between the pictures in f32, of 255
   * @param psnr of the bf16 pictures to the f32 ones, in dB, the worst
   * @param seconds of a generation, one value for each round
   */
  public record Result(
      int steps, double cfg, int levels, double psnr, Map<Setting, double[]> seconds) {
    /** How many times LibTorch's time is that of {@code setting}. */
    public Spread speedup(Setting setting) {
      return Spread.ratio(values(Setting.TORCH_F32), values(setting));
    }

    /** Seconds of a generation. */
    public Spread time(Setting setting) {
      return Spread.of(values(setting));
    }

    private double[] values(Setting setting) {
      double[] values = seconds.get(setting);
      if (values == null) {
        throw new IllegalArgumentException(setting + " was not measured");
      }
      return values;
    }
  }

  private static final double CFG = 3.5;
  private static final int COMPARED_PICTURES = 4;
  private static final int MAX_LEVELS = 2;
  private static final double MIN_PSNR = 35;

  private final Map<Setting, Glance> models = new EnumMap<>(Setting.class);

  /** Loads the model once for each setting. */
  public GenerateComparison(int threads) {
    for (Setting setting : Setting.values()) {
      GlanceOptions options =
          GlanceOptions.builder()
              .backend(setting.backend)
              .dtype(setting.dtype)
              .threads(threads)
              .build();
      models.put(setting, Glance.loadBundled(options));
    }
  }

  /**
   * Compares pictures, then times.
   *
   * @throws IllegalStateException if the pictures differ by more than rounding explains
   */
  public Result measure(int steps, Alternating alternating) {
    int levels = 0;
    double psnr = Double.POSITIVE_INFINITY;
    for (int turn = 0; turn < COMPARED_PICTURES; turn++) {
      byte[] torch = draw(Setting.TORCH_F32, steps, turn);
      levels = Math.max(levels, Pictures.levels(torch, draw(Setting.OURS_F32, steps, turn)));
      psnr = Math.min(psnr, Pictures.psnr(torch, draw(Setting.OURS_BF16, steps, turn)));
    }
    if (levels > MAX_LEVELS || psnr < MIN_PSNR) {
      throw new IllegalStateException(
          "%d steps: the pictures differ: f32 by %d levels (allowed %d), bf16 PSNR %.1f dB (at least %.0f)"
              .formatted(steps, levels, MAX_LEVELS, psnr, MIN_PSNR));
    }
    Map<Setting, IntConsumer> calls = new EnumMap<>(Setting.class);
    for (Setting setting : Setting.values()) {
      calls.put(setting, turn -> draw(setting, steps, turn));
    }
    return new Result(steps, CFG, levels, psnr, alternating.measure(calls));
  }

  private byte[] draw(Setting setting, int steps, int turn) {
    Glance glance = models.get(setting);
    if (glance == null) {
      throw new IllegalStateException("closed");
    }
    ImageRequest request =
        ImageRequest.builder(Prompts.ALL.get(turn % Prompts.ALL.size()))
            .cfg(CFG)
            .seed(turn)
            .schedule(ScheduleSpec.base(steps))
            .build();
    return glance.generate(request).image().rgb();
  }

  @Override
  public void close() {
    models.values().forEach(Glance::close);
    models.clear();
  }
}
