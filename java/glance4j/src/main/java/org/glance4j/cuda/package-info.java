/** What is there for CUDA devices alone. Every other package works without one. */
@NullMarked
package org.glance4j.cuda;

import org.jspecify.annotations.NullMarked;
