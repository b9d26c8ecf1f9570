package org.glance4j;

import java.util.Objects;
import org.glance4j.schedule.ScheduleSpec;
import org.jspecify.annotations.Nullable;

/**
 * What to draw and how. Immutable; make one with {@link #builder(String)}. What is null is filled
 * in from the model when the request is generated.
 *
 * @param prompt what to draw; may be empty
 * @param negativePrompt what to steer away from; needs {@code cfg} above 1; null means empty
 * @param cfg classifier-free guidance {@code g} in {@code v = v_neg + g * (v_pos - v_neg)}; 1 is
 *     off; above 1 each step costs two evaluations, but for those with a guidance of 1 of their
 *     own; null for that of the model's {@link Preset} if the schedule is null too and the preset
 *     has one, otherwise 1
 * @param guidance FLUX.1-dev's distilled guidance, an input of the model; default 3.5; models
 *     without the input ignore it
 * @param width in pixels; null for the model's own
 * @param height in pixels; null for the model's own
 * @param seed of the initial noise: the same as {@code torch.Generator("cpu").manual_seed(seed)};
 *     image {@code i} of a request uses {@code seed + i}; default 0
 * @param imageCount how many images, at least 1
 * @param schedule the steps to walk; null for the model's own (that of its {@link Preset}; without
 *     one, 50 plain steps, or Glance 5+5 where both adapters are loaded)
 * @param maxTextTokens how many text tokens a prompt may have, what is longer is cut off; null for
 *     the model's own
 * @param initialLatents packed latents to start from in place of the seed's noise, or null
 * @param listener is told of each step, or null
 */
public record ImageRequest(
    String prompt,
    @Nullable String negativePrompt,
    @Nullable Double cfg,
    double guidance,
    @Nullable Integer width,
    @Nullable Integer height,
    long seed,
    int imageCount,
    @Nullable ScheduleSpec schedule,
    @Nullable Integer maxTextTokens,
    @Nullable Latents initialLatents,
    @Nullable GenerationListener listener) {
  /** Checks what can be checked without a model. */
  public ImageRequest {
    Objects.requireNonNull(prompt, "prompt");
    if (cfg != null) {
      requireAtLeast("cfg", cfg, 1);
    }
    requireAtLeast("guidance", guidance, 0);
    if (negativePrompt != null && cfg != null && cfg == 1) {
      throw new IllegalArgumentException(
          "a negative prompt has no effect with cfg 1; set cfg above 1, for example 3.5");
    }
    if (imageCount < 1) {
      throw new IllegalArgumentException("imageCount " + imageCount + " must be at least 1");
    }
    if (initialLatents != null && imageCount > 1) {
      throw new IllegalArgumentException(
          "initialLatents start one image, but imageCount is " + imageCount);
    }
  }

  /** A builder for {@code prompt} with all defaults. */
  public static Builder builder(String prompt) {
    return new Builder(prompt);
  }

  /** A builder that starts from this request. */
  public Builder toBuilder() {
    Builder builder = new Builder(prompt);
    builder.negativePrompt = negativePrompt;
    builder.cfg = cfg;
    builder.guidance = guidance;
    builder.width = width;
    builder.height = height;
    builder.seed = seed;
    builder.imageCount = imageCount;
    builder.schedule = schedule;
    builder.maxTextTokens = maxTextTokens;
    builder.initialLatents = initialLatents;
    builder.listener = listener;
    return builder;
  }

  private static void requireAtLeast(String name, double value, double least) {
    if (!Double.isFinite(value) || value < least) {
      throw new IllegalArgumentException(
          name + " " + value + " must be a finite number of at least " + least);
    }
  }

  /** Collects a request; not thread-safe. */
  public static final class Builder {
    private final String prompt;
    private @Nullable String negativePrompt;
    private @Nullable Double cfg;
    private double guidance = 3.5;
    private @Nullable Integer width;
    private @Nullable Integer height;
    private long seed;
    private int imageCount = 1;
    private @Nullable ScheduleSpec schedule;
    private @Nullable Integer maxTextTokens;
    private @Nullable Latents initialLatents;
    private @Nullable GenerationListener listener;

    private Builder(String prompt) {
      this.prompt = prompt;
    }

    /** See {@link ImageRequest#negativePrompt()}. */
    public Builder negativePrompt(@Nullable String value) {
      this.negativePrompt = value;
      return this;
    }

    /** See {@link ImageRequest#cfg()}. */
    public Builder cfg(@Nullable Double value) {
      this.cfg = value;
      return this;
    }

    /** See {@link ImageRequest#guidance()}. */
    public Builder guidance(double value) {
      this.guidance = value;
      return this;
    }

    /** Width and height in pixels. */
    public Builder size(int widthPixels, int heightPixels) {
      return width(widthPixels).height(heightPixels);
    }

    /** See {@link ImageRequest#width()}. */
    public Builder width(@Nullable Integer pixels) {
      this.width = pixels;
      return this;
    }

    /** See {@link ImageRequest#height()}. */
    public Builder height(@Nullable Integer pixels) {
      this.height = pixels;
      return this;
    }

    /** See {@link ImageRequest#seed()}. */
    public Builder seed(long value) {
      this.seed = value;
      return this;
    }

    /** See {@link ImageRequest#imageCount()}. */
    public Builder imageCount(int value) {
      this.imageCount = value;
      return this;
    }

    /** See {@link ImageRequest#schedule()}. */
    public Builder schedule(@Nullable ScheduleSpec value) {
      this.schedule = value;
      return this;
    }

    /** See {@link ImageRequest#maxTextTokens()}. */
    public Builder maxTextTokens(@Nullable Integer value) {
      this.maxTextTokens = value;
      return this;
    }

    /** See {@link ImageRequest#initialLatents()}. */
    public Builder initialLatents(@Nullable Latents value) {
      this.initialLatents = value;
      return this;
    }

    /** See {@link ImageRequest#listener()}. */
    public Builder listener(@Nullable GenerationListener value) {
      this.listener = value;
      return this;
    }

    /** The request, checked. */
    public ImageRequest build() {
      return new ImageRequest(
          prompt,
          negativePrompt,
          cfg,
          guidance,
          width,
          height,
          seed,
          imageCount,
          schedule,
          maxTextTokens,
          initialLatents,
          listener);
    }
  }
}
