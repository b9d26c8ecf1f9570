/** Phases, sigmas, schedules. */
@NullMarked
package org.glance4j.schedule;

import org.jspecify.annotations.NullMarked;
