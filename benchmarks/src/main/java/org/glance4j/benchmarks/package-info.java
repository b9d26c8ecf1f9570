/** Benchmarks of kernels and of whole sampling. */
@NullMarked
package org.glance4j.benchmarks;

import org.jspecify.annotations.NullMarked;
