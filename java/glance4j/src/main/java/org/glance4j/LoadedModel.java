package org.glance4j;

import java.nio.file.Path;
import java.util.EnumMap;
import java.util.Map;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.FlowStep;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.model.flux.FluxModel;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.ScheduleSpec;
import org.jspecify.annotations.Nullable;

/**
 * A model with its adapters, and what a request leaves to them.
 *
 * @param source the folder as the caller named it, or null for the bundled model
 * @param options how it was loaded
 * @param model the model itself
 * @param adapters by the phase they serve
 * @param flowStep the update of the latents, on the backend asked for
 */
record LoadedModel(
    @Nullable Path source,
    GlanceOptions options,
    ImageModel model,
    Map<Phase, LoraAdapter> adapters,
    FlowStep flowStep)
    implements AutoCloseable {
  private static final int BASE_STEPS = 50;

  static LoadedModel open(@Nullable Path source, Path folder, GlanceOptions options) {
    if (options.threads() > 0) {
      NativeRuntime.setThreads(options.threads());
    }
    FlowStep flowStep = FlowStep.on(options.backend(), FlowStep.Rounding.ONCE);
    if (flowStep.backend() == Backend.CUDA) {
      throw new NativeLoadException(
          "models run on the CPU in this version; choose backend cpu or torch");
    }
    ScalarType dtype = options.dtype() == DType.BF16 ? ScalarType.BFloat16 : ScalarType.Float;
    ImageModel model = FluxModel.open(folder, dtype);
    Map<Phase, LoraAdapter> adapters = new EnumMap<>(Phase.class);
    try {
      if (options.slowLora() != null) {
        adapters.put(Phase.SLOW, model.loadAdapter(options.slowLora(), dtype));
      }
      if (options.fastLora() != null) {
        adapters.put(Phase.FAST, model.loadAdapter(options.fastLora(), dtype));
      }
      return new LoadedModel(source, options, model, adapters, flowStep);
    } catch (RuntimeException e) {
      adapters.values().forEach(LoraAdapter::close);
      model.close();
      throw e;
    }
  }

  /** Fills in what the request leaves open and checks it against this model. */
  ImageRequest complete(ImageRequest request) {
    ImageSize size = size(request);
    size.requireMultipleOf(model.sizeMultiple());
    requireFitting(request.initialLatents(), size);
    ImageRequest completed =
        request.toBuilder()
            .width(size.width())
            .height(size.height())
            .schedule(request.schedule() == null ? defaultSchedule() : request.schedule())
            .maxTextTokens(
                request.maxTextTokens() == null
                    ? (Integer) model.defaultTextTokens()
                    : request.maxTextTokens())
            .build();
    return completed;
  }

  ImageSize size(ImageRequest request) {
    ImageSize own = model.defaultSize();
    return new ImageSize(
        request.width() == null ? own.width() : request.width(),
        request.height() == null ? own.height() : request.height());
  }

  /** The steps of a completed request. */
  Schedule schedule(ImageRequest completed) {
    ScheduleSpec spec = completed.schedule() == null ? defaultSchedule() : completed.schedule();
    return spec.resolve(model.sigmaShift(), model.imageTokens(size(completed)));
  }

  /** What each phase applies. */
  Map<Phase, AdapterMix> mixes() {
    Map<Phase, AdapterMix> mixes = new EnumMap<>(Phase.class);
    adapters.forEach(
        (phase, adapter) -> mixes.put(phase, AdapterMix.of(adapter, options.loraScale())));
    return mixes;
  }

  @Override
  public void close() {
    adapters.values().forEach(LoraAdapter::close);
    model.close();
  }

  private ScheduleSpec defaultSchedule() {
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
