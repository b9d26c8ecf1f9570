package org.glance4j;

import java.nio.file.Path;
import java.util.EnumMap;
import java.util.Map;
import java.util.Objects;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.Cfg;
import org.glance4j.kernel.FlowStep;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.ScheduleSpec;
import org.jspecify.annotations.Nullable;

/**
 * A model with its adapters, and what a request leaves to them.
 *
 * @param source the folder as the caller named it, or null for the bundled model
 * @param options how it was loaded, the preset named
 * @param preset what requests that leave their schedule open take, or null
 * @param model the model itself
 * @param adapters by the phase they serve
 * @param flowStep the update of the latents, on the backend asked for
 */
record LoadedModel(
    @Nullable Path source,
    GlanceOptions options,
    @Nullable Preset preset,
    ImageModel model,
    Map<Phase, LoraAdapter> adapters,
    FlowStep flowStep)
    implements AutoCloseable {
  /** The system property that has steps on backend cuda recorded as CUDA graphs. */
  static final String CUDA_GRAPH = "glance.cuda.graph";

  private static final int BASE_STEPS = 50;

  static LoadedModel open(@Nullable Path source, Path folder, GlanceOptions options) {
    if (options.threads() > 0) {
      NativeRuntime.setThreads(options.threads());
    }
    // Before the weights, which may take minutes.
    Preset preset = Preset.choose(folder, options);
    GlanceOptions named =
        options.toBuilder().preset(preset == null ? Preset.NONE : preset.name()).build();
    Backend backend = options.backend().resolve();
    FlowStep flowStep = FlowStep.on(backend, FlowStep.Rounding.ONCE);
    ImageModel model = ImageModels.open(folder, options.dtype(), backend, options.keepResident());
    try {
      Map<Phase, LoraAdapter> adapters = loadAdapters(model, inForce(named, preset));
      return new LoadedModel(source, named, preset, model, adapters, flowStep);
    } catch (RuntimeException e) {
      model.close();
      throw e;
    }
  }

  private static Map<Phase, LoraAdapter> loadAdapters(ImageModel model, GlanceOptions options) {
    ScalarType dtype = ImageModels.scalarType(options.dtype());
    Map<Phase, LoraAdapter> adapters = new EnumMap<>(Phase.class);
    try {
      if (options.slowLora() != null) {
        adapters.put(Phase.SLOW, model.loadAdapter(options.slowLora(), dtype));
      }
      if (options.fastLora() != null) {
        adapters.put(Phase.FAST, model.loadAdapter(options.fastLora(), dtype));
      }
      return adapters;
    } catch (RuntimeException e) {
      adapters.values().forEach(LoraAdapter::close);
      throw e;
    }
  }

  /** The options with the adapters that are used written out. */
  GlanceOptions inForce() {
    return inForce(options, preset);
  }

  private static GlanceOptions inForce(GlanceOptions options, @Nullable Preset preset) {
    return preset == null || options.hasAdapters()
        ? options
        : options.toBuilder()
            .slowLora(preset.slowLora())
            .fastLora(preset.fastLora())
            .loraScale(options.loraScale() * preset.loraScale())
            .build();
  }

  /**
   * This model with the adapters of {@code changed}, and no preset, in place of its own, which are
   * freed: this object must not be used after that. If the new ones cannot be loaded nothing has
   * changed.
   */
  LoadedModel withAdapters(GlanceOptions changed) {
    Map<Phase, LoraAdapter> loaded = loadAdapters(model, changed);
    model.releaseAdapters();
    adapters.values().forEach(LoraAdapter::close);
    return new LoadedModel(source, changed, null, model, loaded, flowStep);
  }

  /** Where the model runs: never {@link Backend#AUTO}. */
  Backend backend() {
    return flowStep.backend();
  }

  /**
   * Who walks the steps of {@code task}; what it computes beforehand is the current scope's. Until
   * it is closed the transformer stays in memory.
   */
  Stepper stepper(DenoiseTask task, Cfg cfg) {
    Denoiser denoiser = model.denoiser(task);
    try {
      return backend() == Backend.CUDA && Boolean.getBoolean(CUDA_GRAPH)
          ? new RecordedStepper(denoiser, task, flowStep, cfg)
          : new DirectStepper(denoiser, flowStep, cfg, task.schedule().steps());
    } catch (RuntimeException | Error e) {
      denoiser.close();
      throw e;
    }
  }

  /** Fills in what the request leaves open and checks it against this model. */
  ImageRequest complete(ImageRequest request) {
    ImageSize size = size(request);
    size.requireMultipleOf(model.sizeMultiple());
    requireFitting(request.initialLatents(), size);
    int textTokens =
        request.maxTextTokens() == null ? model.defaultTextTokens() : request.maxTextTokens();
    if (textTokens < 1 || textTokens > model.maxTextTokens()) {
      throw new IllegalArgumentException(
          "maxTextTokens %d must be in 1...%d".formatted(textTokens, model.maxTextTokens()));
    }
    ImageRequest sized =
        request.toBuilder()
            .width(size.width())
            .height(size.height())
            .schedule(request.schedule() == null ? defaultSchedule(size) : request.schedule())
            .maxTextTokens(textTokens)
            .build();
    Schedule schedule = schedule(sized);
    requireBothAdapters(schedule);
    return sized.toBuilder().cfg(cfg(request, schedule)).build();
  }

  /**
   * The request's, or else the preset's, or else none; but with a schedule whose steps have their
   * own the largest of those, which turns CFG on.
   */
  private double cfg(ImageRequest request, Schedule schedule) {
    if (schedule.ownCfg().isPresent()) {
      double own = schedule.ownCfg().getAsDouble();
      if (request.cfg() != null && request.cfg() != own) {
        throw new IllegalArgumentException(
            "cfg %s: schedule %s has a cfg of its own for each step; leave cfg out, or choose another schedule"
                .formatted(request.cfg(), schedule.name()));
      }
      return own;
    }
    if (request.cfg() != null) {
      return request.cfg();
    }
    Preset used = request.schedule() == null ? preset : null;
    return used != null && used.cfg() != null ? used.cfg() : 1;
  }

  ImageSize size(ImageRequest request) {
    ImageSize own = model.defaultSize();
    return new ImageSize(
        request.width() == null ? own.width() : request.width(),
        request.height() == null ? own.height() : request.height());
  }

  /** The steps of a completed request. */
  Schedule schedule(ImageRequest completed) {
    ScheduleSpec spec = Objects.requireNonNull(completed.schedule());
    return spec.resolve(model.sigmaShift(), model.imageTokens(size(completed)));
  }

  /** What each phase applies. */
  Map<Phase, AdapterMix> mixes() {
    Map<Phase, AdapterMix> mixes = new EnumMap<>(Phase.class);
    double scale = inForce().loraScale();
    adapters.forEach((phase, adapter) -> mixes.put(phase, AdapterMix.of(adapter, scale)));
    return mixes;
  }

  @Override
  public void close() {
    adapters.values().forEach(LoraAdapter::close);
    model.close();
  }

  private ScheduleSpec defaultSchedule(ImageSize size) {
    if (preset != null) {
      int own = model.imageTokens(model.defaultSize());
      return preset.schedule().resized(model.sigmaShift(), own, model.imageTokens(size));
    }
    if (adapters.isEmpty()) {
      return ScheduleSpec.base(BASE_STEPS);
    }
    if (adapters.size() == 2) {
      return ScheduleSpec.glance();
    }
    throw new IllegalArgumentException(
        "only the "
            + adapters.keySet().iterator().next()
            + " phase has an adapter, so there is no default schedule; load both adapters or set"
            + " the schedule");
  }

  /** One phase with its adapter and the other without is a slip, not a choice. */
  private void requireBothAdapters(Schedule schedule) {
    for (Phase phase : new Phase[] {Phase.SLOW, Phase.FAST}) {
      if (adapters.size() == 1 && schedule.has(phase) && !adapters.containsKey(phase)) {
        throw new IllegalArgumentException(
            "schedule %s has %s steps, but only the other phase's adapter is loaded; load both or none"
                .formatted(schedule.name(), phase));
      }
    }
  }

  private void requireFitting(@Nullable Latents latents, ImageSize size) {
    if (latents == null) {
      return;
    }
    int tokens = model.imageTokens(size);
    if (latents.tokens() != tokens || latents.channels() != model.latentChannels()) {
      throw new IllegalArgumentException(
          "initial latents have %d tokens of %d channels, but a %s picture has %d of %d; set the size they were made for"
              .formatted(
                  latents.tokens(), latents.channels(), size, tokens, model.latentChannels()));
    }
  }
}
