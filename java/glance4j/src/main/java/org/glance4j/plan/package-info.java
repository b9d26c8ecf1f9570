/** Chooses, for a model, which sigmas a schedule of few steps keeps. */
@NullMarked
package org.glance4j.plan;

import org.jspecify.annotations.NullMarked;
