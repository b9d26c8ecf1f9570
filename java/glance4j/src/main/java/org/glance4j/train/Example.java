package org.glance4j.train;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Conditioning;
import org.glance4j.schedule.Step;
import org.jspecify.annotations.Nullable;

/**
 * One thing to learn: standing at {@code latents}, the velocity is {@code target}.
 *
 * @param prompt what is drawn
 * @param negative with CFG the negative prompt, otherwise null
 * @param step whose timestep the model is told, and whose phase's adapter learns
 * @param latents packed, f32 [1, tokens, channels]
 * @param target of the same shape
 * @param weight of its loss
 */
record Example(
    Conditioning prompt,
    @Nullable Conditioning negative,
    Step step,
    Tensor latents,
    Tensor target,
    double weight) {}
