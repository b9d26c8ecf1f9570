package org.glance4j.model;

import java.util.Map;
import org.glance4j.lora.AdapterMix;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.jspecify.annotations.Nullable;

/**
 * What a {@link Denoiser} is made for.
 *
 * @param positive the prompt
 * @param negative the negative prompt, or null without CFG
 * @param size of the picture
 * @param guidance distilled guidance, for models that take it
 * @param schedule the steps
 * @param adapters what each phase applies; a phase not in it applies nothing
 */
public record DenoiseTask(
    Conditioning positive,
    @Nullable Conditioning negative,
    ImageSize size,
    double guidance,
    Schedule schedule,
    Map<Phase, AdapterMix> adapters) {
  /** Copies the map. */
  public DenoiseTask {
    adapters = Map.copyOf(adapters);
  }

  /** How many samples the transformer evaluates at once: 2 with CFG, otherwise 1. */
  public int batch() {
    return negative == null ? 1 : 2;
  }

  /** What {@code phase} applies. */
  public AdapterMix adapters(Phase phase) {
    return adapters.getOrDefault(phase, AdapterMix.NONE);
  }
}
