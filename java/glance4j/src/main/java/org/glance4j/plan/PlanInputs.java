package org.glance4j.plan;

import java.util.List;
import org.glance4j.model.ImageSize;

/**
 * What a schedule was planned for. Immutable.
 *
 * @param model the name of the model's folder
 * @param size of the pictures
 * @param cfg classifier-free guidance; 1 is off
 * @param ownCfg whether steps may have their own; only with CFG
 * @param guidance distilled guidance, for models that take it
 * @param seed of the first prompt's noise; prompt {@code i} has {@code seed + i}
 * @param prompts at least one
 */
public record PlanInputs(
    String model,
    ImageSize size,
    double cfg,
    boolean ownCfg,
    double guidance,
    long seed,
    List<String> prompts) {
  /** Copies the list. */
  public PlanInputs {
    prompts = List.copyOf(prompts);
  }
}
