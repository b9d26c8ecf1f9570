/** The reference data that tests compare against, and how they compare. */
@NullMarked
package org.glance4j.reference;

import org.jspecify.annotations.NullMarked;
