/** Variational autoencoders: {@link org.glance4j.model.vae.Vae} and its two kinds. */
@NullMarked
package org.glance4j.model.vae;

import org.jspecify.annotations.NullMarked;
