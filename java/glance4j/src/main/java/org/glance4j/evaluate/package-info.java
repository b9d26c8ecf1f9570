/** How close ways of sampling come to a model's own 50-step result, and what they cost. */
@NullMarked
package org.glance4j.evaluate;

import org.jspecify.annotations.NullMarked;
