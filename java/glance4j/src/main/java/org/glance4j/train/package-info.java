/** Training: the adapters of both phases from one sample. */
@NullMarked
package org.glance4j.train;

import org.jspecify.annotations.NullMarked;
