/** Tokenizers and text encoders. */
@NullMarked
package org.glance4j.model.text;

import org.jspecify.annotations.NullMarked;
