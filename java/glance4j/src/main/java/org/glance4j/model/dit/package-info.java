/**
 * Diffusion transformers (arXiv 2212.09748): what FLUX and Qwen-Image share, from packed latents
 * and MM-DiT blocks to the evaluation of a schedule's steps.
 */
@NullMarked
package org.glance4j.model.dit;

import org.jspecify.annotations.NullMarked;
