package org.glance4j.model.text;

import org.bytedeco.pytorch.Tensor;

/**
 * What {@link ClipTextEncoder} makes of a batch of prompts.
 *
 * @param pooled the last hidden state at each prompt's end token: [batch, width]
 * @param lastHidden the last hidden states after the final norm: [batch, tokens, width]
 */
public record ClipOutput(Tensor pooled, Tensor lastHidden) {}
