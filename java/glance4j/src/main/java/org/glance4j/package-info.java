/** The public API: a pipeline, a request, an image, a listener, the exceptions. */
@NullMarked
package org.glance4j;

import org.jspecify.annotations.NullMarked;
