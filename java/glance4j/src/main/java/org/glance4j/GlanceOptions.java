package org.glance4j;

import java.nio.file.Path;
import java.util.Objects;
import org.glance4j.kernel.Backend;
import org.jspecify.annotations.Nullable;

/**
 * How a model is loaded. Immutable.
 *
 * <p>The caller's own adapters, even one, take the place of a preset's.
 *
 * @param dtype the type the model runs in; default {@link DType#F32}
 * @param backend who runs the kernels; default {@link Backend#AUTO}
 * @param threads CPU threads for LibTorch and the kernels, process-wide; 0, the default, leaves
 *     LibTorch's own choice
 * @param slowLora the SLOW phase's adapter file, or null for none
 * @param fastLora the FAST phase's adapter file, or null for none
 * @param loraScale multiplies each adapter's own scale (alpha / rank where the file carries alpha,
 *     otherwise 1); default 1. The Glance authors train with alpha = 4 * rank but save no alpha: 4
 *     gives their files the trained strength
 * @param preset the model's {@link Preset} to use: its name, or {@link Preset#NONE}; null, the
 *     default, for its preset {@code default}, or none if it has no such or an adapter is given
 * @param keepResident true to keep the whole model in memory, false to let its text encoders and
 *     its transformer take turns: less memory, but each is loaded again when its turn comes, which
 *     a prompt used shortly before does not need; null, the default, to take turns only if the
 *     whole does not fit in the memory that is free when it is loaded. The pictures are the same
 */
public record GlanceOptions(
    DType dtype,
    Backend backend,
    int threads,
    @Nullable Path slowLora,
    @Nullable Path fastLora,
    double loraScale,
    @Nullable String preset,
    @Nullable Boolean keepResident) {
  /** All defaults. */
  public static final GlanceOptions DEFAULTS = builder().build();

  /** Checks ranges. */
  public GlanceOptions {
    Objects.requireNonNull(dtype, "dtype");
    Objects.requireNonNull(backend, "backend");
    if (threads < 0) {
      throw new IllegalArgumentException("threads " + threads + " must be 0 (automatic) or more");
    }
    if (!Double.isFinite(loraScale)) {
      throw new IllegalArgumentException("loraScale " + loraScale + " must be a finite number");
    }
  }

  /** True if an adapter is given. */
  public boolean hasAdapters() {
    return slowLora != null || fastLora != null;
  }

  /** A builder with all defaults. */
  public static Builder builder() {
    return new Builder();
  }

  /** A builder that starts from these options. */
  public Builder toBuilder() {
    return new Builder()
        .dtype(dtype)
        .backend(backend)
        .threads(threads)
        .slowLora(slowLora)
        .fastLora(fastLora)
        .loraScale(loraScale)
        .preset(preset)
        .keepResident(keepResident);
  }

  /** Collects options; not thread-safe. */
  public static final class Builder {
    private DType dtype = DType.F32;
    private Backend backend = Backend.AUTO;
    private int threads;
    private @Nullable Path slowLora;
    private @Nullable Path fastLora;
    private double loraScale = 1;
    private @Nullable String preset;
    private @Nullable Boolean keepResident;

    private Builder() {}

    /** See {@link GlanceOptions#dtype()}. */
    public Builder dtype(DType value) {
      this.dtype = value;
      return this;
    }

    /** See {@link GlanceOptions#backend()}. */
    public Builder backend(Backend value) {
      this.backend = value;
      return this;
    }

    /** See {@link GlanceOptions#threads()}. */
    public Builder threads(int value) {
      this.threads = value;
      return this;
    }

    /** See {@link GlanceOptions#slowLora()}. */
    public Builder slowLora(@Nullable Path file) {
      this.slowLora = file;
      return this;
    }

    /** See {@link GlanceOptions#fastLora()}. */
    public Builder fastLora(@Nullable Path file) {
      this.fastLora = file;
      return this;
    }

    /** See {@link GlanceOptions#loraScale()}. */
    public Builder loraScale(double value) {
      this.loraScale = value;
      return this;
    }

    /** See {@link GlanceOptions#preset()}. */
    public Builder preset(@Nullable String name) {
      this.preset = name;
      return this;
    }

    /** See {@link GlanceOptions#keepResident()}. */
    public Builder keepResident(@Nullable Boolean value) {
      this.keepResident = value;
      return this;
    }

    /** The options, checked. */
    public GlanceOptions build() {
      return new GlanceOptions(
          dtype, backend, threads, slowLora, fastLora, loraScale, preset, keepResident);
    }
  }
}
