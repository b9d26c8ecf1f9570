/** FLUX.1: transformer, prompt encoding, latent layout. */
@NullMarked
package org.glance4j.model.flux;

import org.jspecify.annotations.NullMarked;
