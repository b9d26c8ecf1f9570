/**
 * The operations under measurement: shapes, inputs, contenders and checks, and their JMH classes.
 */
@NullMarked
package org.glance4j.benchmarks.kernel;

import org.jspecify.annotations.NullMarked;
