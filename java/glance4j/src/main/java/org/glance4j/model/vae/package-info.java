/** Variational autoencoders. */
@NullMarked
package org.glance4j.model.vae;

import org.jspecify.annotations.NullMarked;
