package org.glance4j.model.dit;

import org.bytedeco.pytorch.Tensor;

/**
 * The hidden states of the tokens of one place in the model, or their gradients.
 *
 * @param text shape [batch, textTokens, width]
 * @param image shape [batch, imageTokens, width]
 */
public record Streams(Tensor text, Tensor image) {}
