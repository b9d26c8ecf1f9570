/** Alternating measurement, and the report made of it. */
@NullMarked
package org.glance4j.benchmarks.report;

import org.jspecify.annotations.NullMarked;
