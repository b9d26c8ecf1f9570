/** The Java face of the C ABI: one small class an operation. */
@NullMarked
package org.glance4j.kernel;

import org.jspecify.annotations.NullMarked;
